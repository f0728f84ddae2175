"""The table of models, which docs/models.md is made from and whose shapes the tests build."""

from __future__ import annotations

from tools.models_page import TABLE, PublishedModel, read_table

MODELS: tuple[PublishedModel, ...] = tuple(model for family in read_table(TABLE) for model in family.models)
"""Every model of the table, in its order."""


def first_of(shape: str) -> PublishedModel:
    """Return the model whose keys of models.yaml the tiny one of this shape is built with."""
    return next(model for model in MODELS if model.shape == shape)
