"""The results of commands, and the comparison of two bundles."""
