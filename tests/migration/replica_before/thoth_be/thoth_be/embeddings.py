"""Vectors of texts."""

from functools import lru_cache

from django.conf import settings
from sentence_transformers import SentenceTransformer


@lru_cache(maxsize=1)
def get_model() -> SentenceTransformer:
    """Return the model of this process, which is loaded when it is first needed."""
    return SentenceTransformer(settings.EMBEDDING_MODEL)
