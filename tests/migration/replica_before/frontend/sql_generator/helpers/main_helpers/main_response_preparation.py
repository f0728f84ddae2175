"""The last phase."""

import json

WORKSPACE_STATES = {}


async def _prepare_final_response_phase(state, request, http_request):
    """Return what was found, from which the rest of the service makes SQL."""
    WORKSPACE_STATES[request.workspace_id] = state
    found = {
        "similar_columns": state.similar_columns,
        "schema_with_examples": state.schema_with_examples,
        "schema_from_vector_db": state.schema_from_vector_db,
        "evidence": state.evidence,
        "sql_shots": state.sql_shots,
    }
    yield f"RESULT:{json.dumps(found)}\n"
