"""The settings of the vector store: its address from the workspace, the embedding from the environment."""

import os


def get_supported_vector_backends() -> list[str]:
    """Return the names of the stores that can be configured."""
    return ["qdrant"]


def extract_vector_db_config_from_workspace(workspace: dict) -> dict:
    """Return the settings of a workspace's store."""
    config = {name: workspace["sql_db"]["vector_db"][name] for name in ("name", "host", "port", "vect_type")}
    _configure_embedding(config)
    return {**config, "vect_type": config["vect_type"].lower()}


def build_vector_db_params(vector_db_config: dict, vect_type: str) -> dict:
    """Return the arguments of ``VectorStoreFactory.create``."""
    return {
        "backend": vect_type,
        "collection": vector_db_config["name"],
        "host": vector_db_config["host"],
        "port": vector_db_config["port"],
        "embedding_provider": vector_db_config["embedding_provider"],
        "embedding_model": vector_db_config["embedding_model"],
        "embedding_dim": 1536 if vector_db_config["embedding_provider"] == "openai" else 384,
        "embedding_api_key": vector_db_config["embedding_api_key"],
    }


def _configure_embedding(config: dict) -> None:
    for name in ("provider", "model", "api_key"):
        variable = f"EMBEDDING_{name.upper()}"
        if not os.getenv(variable):
            raise ValueError(f"Missing required embedding environment variables: {variable}")
        config[f"embedding_{name}"] = os.environ[variable]
