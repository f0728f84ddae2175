"""Which columns and which evidence a question is about."""

import numpy as np

from sql_generator.embeddings import get_model
from sql_generator.workspace import COLUMNS, EVIDENCE

SCHEMA_THRESHOLD = 0.4
EVIDENCE_THRESHOLD = 0.35


def link_columns(question: str) -> list[dict]:
    """Return the columns that are similar enough to a question, most similar first."""
    vectors = get_model().encode([*(f"{name}: {meaning}" for name, meaning in COLUMNS), question])
    scores = np.dot(vectors[:-1], vectors[-1])
    found = [{"name": name, "score": float(score)} for (name, _), score in zip(COLUMNS, scores, strict=True)]
    return _ranked(found, SCHEMA_THRESHOLD)


def find_evidence(question: str, columns: list[dict]) -> list[dict]:
    """Return the evidence on the columns that were linked, most similar to a question first."""
    tables = {column["name"].partition(".")[0] for column in columns}
    texts = [text for table, text in EVIDENCE if table in tables]
    # No column was linked: no texts, and no vectors.
    vectors = get_model().encode(texts)
    asked = get_model().encode([question])[-1]
    found = [{"text": text, "score": float(np.dot(row, asked))} for text, row in zip(texts, vectors, strict=True)]
    return _ranked(found, EVIDENCE_THRESHOLD)


def _ranked(found: list[dict], threshold: float) -> list[dict]:
    return sorted((one for one in found if one["score"] >= threshold), key=lambda one: -one["score"])
