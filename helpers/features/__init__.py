"""Numbers from sound."""
