"""Load a model with sentence-transformers, and refuse one whose weights or tokens are not those of its files."""
