"""The panel, and what serves it."""
