"""OCI images: deterministic layers, image configurations, and image layouts on disk."""
