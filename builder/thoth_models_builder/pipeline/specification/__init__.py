"""Changes of a models.yaml by command: a first file, models added and removed, and what upstream has now."""
