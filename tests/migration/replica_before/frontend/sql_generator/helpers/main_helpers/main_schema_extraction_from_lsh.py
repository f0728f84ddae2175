"""Columns and values that resemble a question; the vectors are compared by their dot products."""

import numpy as np

THRESHOLD = 0.4


class VDBEmbeddingWrapper:
    """Encodes with the embedding manager of the vector store."""

    def __init__(self, vdb_manager):
        self.embedding_manager = vdb_manager.embedding_manager

    def encode(self, texts):
        """Return one vector for each text."""
        return self.embedding_manager.encode(texts)


def extract_schema_via_lsh(state) -> tuple[dict, dict]:
    """Return the columns that a question names, and values that resemble its keywords."""
    embedding_function = VDBEmbeddingWrapper(state.vdbmanager)
    return _get_similar_columns_lsh(state, embedding_function), _get_similar_values_lsh(state, embedding_function)


def _get_similar_columns_lsh(state, embedding_function) -> dict[str, list[str]]:
    columns = [(table, column) for table, described in state.full_schema.items() for column in described]
    embeddings = embedding_function.encode([f"`{table}`.`{column}`" for table, column in columns] + [state.question])
    question = embeddings[-1]
    scored = [(float(np.dot(vector, question)), *column) for vector, column in zip(embeddings[:-1], columns, strict=True)]
    found: dict[str, list[str]] = {}
    for score, table, column in sorted(scored, reverse=True):
        if score >= THRESHOLD:
            found.setdefault(table, []).append(column)
    return found


def _get_similar_values_lsh(state, embedding_function) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for keyword in state.keywords:
        near = state.dbmanager.query_lsh(keyword=keyword, signature_size=50, top_n=25)
        values = [(table, column, value) for table in near for column in near[table] for value in near[table][column]]
        # Where nothing resembles a keyword, there is nothing to encode.
        vectors = embedding_function.encode([value for *_, value in values])
        asked = embedding_function.encode([keyword])[0]
        for (table, column, value), vector in zip(values, vectors, strict=True):
            if np.dot(vector, asked) >= THRESHOLD:
                found.setdefault(table, {}).setdefault(column, []).append(value)
    return found
