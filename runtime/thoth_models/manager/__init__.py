"""EmbeddingManager and its parts."""
