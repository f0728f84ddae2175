"""models.yaml, the lock that it resolves to, and the plan of a build. Pure."""
