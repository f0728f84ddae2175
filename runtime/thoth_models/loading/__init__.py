"""Select a variant, verify it, load it, fall back."""
