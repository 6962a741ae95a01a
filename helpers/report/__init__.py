"""What a reader sees: figures, cards, pages."""
