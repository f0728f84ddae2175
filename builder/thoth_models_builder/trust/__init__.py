"""Statements about a bundle: its bill of materials."""
