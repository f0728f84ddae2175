"""Signatures of bundles: their format, whom this process trusts, and the check that a bundle was signed."""
