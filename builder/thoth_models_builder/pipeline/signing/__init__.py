"""``sign``: the signature beside a bundle."""
