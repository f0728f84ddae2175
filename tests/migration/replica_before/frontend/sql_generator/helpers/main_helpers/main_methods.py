"""What a question needs before its first phase: the workspace, its database, its vector store."""

import json
import logging
import os
import traceback
from typing import Dict, Any

import httpx
from thoth_dbmanager import ThothDbFactory
from thoth_qdrant import VectorStoreFactory

from ..vectordb_config_utils import (
    build_vector_db_params,
    extract_vector_db_config_from_workspace,
    get_supported_vector_backends,
)

logger = logging.getLogger(__name__)


def initialize_vectordb_backend_plugins() -> Dict[str, bool]:
    """Return which of the supported stores can be used."""
    loadable = set(VectorStoreFactory.list_backends())
    return {backend: backend in loadable for backend in get_supported_vector_backends()}


def _initialize_vdbmanager(workspace_config, sql_db_config):
    vdbmanager = None
    vdbmanager_status = "Not initialized"

    try:
        vector_db_config = extract_vector_db_config_from_workspace(workspace_config)
        vect_type = vector_db_config["vect_type"]
        factory_params = build_vector_db_params(vector_db_config, vect_type)
        if not initialize_vectordb_backend_plugins().get(vect_type):
            return vdbmanager, f"Vector database backend '{vect_type}' unavailable"

        import time
        max_retries = 3
        for attempt in range(max_retries):
            try:
                vdbmanager = VectorStoreFactory.create(**factory_params)
                vdbmanager_status = f"{vect_type} vdbmanager initialized for {sql_db_config.get('db_name')}"
                break
            except Exception as conn_error:
                logger.error(f"Connection attempt {attempt + 1} failed: {conn_error}")
                if attempt < max_retries - 1:
                    time.sleep(1)
                else:
                    raise conn_error
    except Exception as e:
        logger.error(f"Traceback: {traceback.format_exc()}")
        vdbmanager_status = f"Error: {str(e)}"
    return vdbmanager,vdbmanager_status


async def _get_workspace_config(workspace_id: int) -> Dict[str, Any]:
    url = f"{os.environ['DJANGO_SERVER']}/api/workspace/id/{workspace_id}"
    async with httpx.AsyncClient(trust_env=False, headers={"X-API-KEY": os.environ["DJANGO_API_KEY"]}) as client:
        response = await client.get(url, timeout=10.0)
    response.raise_for_status()
    return response.json()


async def _setup_dbmanager_and_agents(workspace_id: int, request) -> Dict[str, Any]:
    """Return the workspace, its database and its vector store, with what became of each."""
    try:
        workspace_config = await _get_workspace_config(workspace_id)
        sql_db_config = workspace_config.get('sql_db', {})
        dbmanager = ThothDbFactory.create_manager(database_name=sql_db_config["db_name"])

        # Initialize vector database manager
        vdbmanager, vdbmanager_status = _initialize_vdbmanager(workspace_config, sql_db_config)
        if not vdbmanager:
            logger.error(json.dumps({"workspace_id": workspace_id, "status": vdbmanager_status}))
    except Exception as e:
        logger.error(f"Critical error in _setup_dbmanager_and_agents: {e}")
        raise
    return {
        "workspace_name": workspace_config["name"],
        "dbmanager": dbmanager,
        "vdbmanager": vdbmanager,
        "vdbmanager_status": vdbmanager_status,
    }
