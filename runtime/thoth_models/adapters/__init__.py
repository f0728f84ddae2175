"""Adapters to frameworks. Each is one module, the only one that imports its framework.

Each takes the name of a model and, optionally, a :class:`ManagerConfig`. The process's :class:`EmbeddingManager` for
that configuration holds the models, so several adapters share one loaded model.
"""
