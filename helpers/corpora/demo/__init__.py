"""The demo corpus: synthetic voices that make themselves."""
