"""Adapters, against the frameworks themselves."""
