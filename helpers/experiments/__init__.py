"""Small models trained to answer a question."""
