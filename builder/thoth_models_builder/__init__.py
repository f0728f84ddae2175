"""Resolve, download, check and pack embedding models into a verified, read-only bundle."""

__version__ = "0.1.0"
