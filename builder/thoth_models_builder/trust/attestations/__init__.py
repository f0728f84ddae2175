"""Attestations of a bundle: what is stated about it, signed, and compared with what it is."""
