"""Code that all network clients share: retries, limits, bounded bodies, and messages without secrets."""
