"""Graphs as files: how they are optimised, laid out and listed, and how products with weights are written."""
