"""The benchmarks: ``python -m bench``, run by ``nox -s bench``; docs/benchmarks.md says what they measure, and how.

Not part of either distribution. Nothing here is timed by a test.
"""
