"""Describe a model, compose the manifest, write the tree."""
