"""Bills of materials of bundles and images on disk."""
