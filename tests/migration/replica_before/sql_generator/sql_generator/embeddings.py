"""Vectors of texts."""

import os
from functools import lru_cache

from sentence_transformers import SentenceTransformer

MODEL = os.environ.get("EMBEDDING_MODEL", "paraphrase-multilingual-MiniLM-L12-v2")


@lru_cache(maxsize=1)
def get_model() -> SentenceTransformer:
    """Return the model, which is loaded when it is first needed."""
    return SentenceTransformer(MODEL)
