"""Networks: built, trained, kept, asked."""
