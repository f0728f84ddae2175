"""Confine the process that runs a model's own code, or reads its pickles; see docs/decisions/0031-sandbox.md."""
