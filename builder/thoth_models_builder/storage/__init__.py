"""The content-addressed store, and files on disk."""
