"""OCI images: deterministic layers, image configurations, layouts on disk, and the client of registries."""
