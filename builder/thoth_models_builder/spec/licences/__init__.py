"""Licences: their names, and the lists of them in models.yaml."""
