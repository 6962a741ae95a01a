"""The panel and the listening widget."""
