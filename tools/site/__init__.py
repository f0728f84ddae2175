"""The documentation site: extensions of Sphinx that docs/conf.py loads, and the check of what was built."""
