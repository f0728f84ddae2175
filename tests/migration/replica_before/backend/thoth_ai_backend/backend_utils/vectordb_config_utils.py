"""Where a workspace's index is."""


def get_vectordb_config(db: dict) -> dict:
    """Return the address and the collection."""
    named = db["vector_db"]
    return {
        "vector_db_type": named["vect_type"],
        "host": named["host"],
        "port": named["port"],
        "collection_name": named["name"],
    }
