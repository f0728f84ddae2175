"""``sign`` and ``attest``: the signature and the attestations beside a bundle."""
