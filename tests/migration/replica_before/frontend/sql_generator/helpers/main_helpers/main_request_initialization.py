"""The state that a request begins with."""

import json
from typing import Optional, Tuple

from fastapi import Request
from fastapi.responses import PlainTextResponse

from helpers.db_info import get_db_schema
from helpers.main_helpers.main_methods import _setup_dbmanager_and_agents
from model.system_state import SystemState


async def _initialize_request_state(
    request, http_request: Request
) -> Tuple[Optional[SystemState], Optional[PlainTextResponse]]:
    """Return the state, or the answer that says why there is none."""
    setup_result = await _setup_dbmanager_and_agents(request.workspace_id, request)
    state = SystemState(question=request.question, **setup_result)
    if state.vdbmanager is None:
        details = {"error": "Vector DB Manager is not ready.", "status": state.vdbmanager_status}
        return None, PlainTextResponse(json.dumps(details), status_code=400)

    try:
        state.full_schema = get_db_schema(state.dbmanager.db_id, state.dbmanager.schema)
        if not state.full_schema:
            raise ValueError("Database schema is empty - no tables found")
    except Exception as e:
        return None, PlainTextResponse(f"ERROR: Failed to retrieve database schema: {e}", status_code=500)
    return state, None
