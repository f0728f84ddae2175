"""Readers of bytes that strangers write: valid inputs to start from, and what fuzzing found."""
