"""Searches for columns."""

from thoth_qdrant import ThothType, VectorStoreInterface


def query_vector_db_for_columns_data(document_store: VectorStoreInterface, query: str, top_k: int) -> dict:
    """Return the columns that are near to a query, by table."""
    found: dict[str, dict] = {}
    for doc in document_store.search_similar(query=query, doc_type=ThothType.COLUMN_NAME, top_k=top_k, score_threshold=0.35):
        found.setdefault(doc.table_name, {})[doc.original_column_name] = {"column_description": doc.column_description}
    return found
