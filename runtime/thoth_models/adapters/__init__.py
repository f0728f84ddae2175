"""Adapters to the frameworks that people use, each in a module of its own, which alone imports its framework.

Each takes the name of a model and, where a service has settings of its own, a :class:`ManagerConfig`; the models are
those of the process's :class:`EmbeddingManager` for these settings, so that several adapters share what is loaded.
"""
