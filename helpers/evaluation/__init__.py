"""How good a model is on people it has never heard, how sure that is, and where it breaks."""
