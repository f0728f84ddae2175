"""The HTTP interface."""

import logging
import os
from contextlib import asynccontextmanager
from typing import Any, Dict

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from helpers.env_validator import validate_environment
from helpers.main_helpers.main_preprocessing_phases import _extract_keywords_phase, _retrieve_context_phase
from helpers.main_helpers.main_request_initialization import _initialize_request_state
from helpers.main_helpers.main_response_preparation import _prepare_final_response_phase

logger = logging.getLogger(__name__)


class GenerateSQLRequest(BaseModel):
    """The body of ``POST /generate-sql``."""

    question: str = Field(...)
    workspace_id: int = Field(...)
    functionality_level: str = Field(...)
    flags: dict[str, bool] = Field(...)


class HealthResponse(BaseModel):
    """The answer of ``GET /health``."""

    status: str
    message: str


@asynccontextmanager
async def lifespan(_app: FastAPI):
    """Start only where the environment is complete."""
    if not validate_environment() and os.getenv("ENVIRONMENT") == "production":
        raise SystemExit(1)
    yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["http://localhost:3040"])


@app.get("/health", response_model=HealthResponse)
async def health_check():
    """Report that the process lives."""
    return HealthResponse(
        status="healthy",
        message="SQL Generator service is running"
    )


@app.post("/generate-sql")
async def generate_sql(request: GenerateSQLRequest, http_request: Request):
    """Stream what is found out about a question, phase by phase."""
    state, error_response = await _initialize_request_state(request, http_request)
    if error_response:
        return error_response

    async def generate_response():
        yield f"THOTHLOG:Resources instantiated for workspace '{state.workspace_name}'\n"
        for phase in (_extract_keywords_phase, _retrieve_context_phase, _prepare_final_response_phase):
            async for message in phase(state, request, http_request):
                yield message

    return StreamingResponse(generate_response(), media_type="text/plain")


@app.post("/save-sql-feedback")
async def save_sql_feedback(request: Dict[str, Any]):
    """Add the last question of a workspace and its SQL to the collection: a user liked it."""
    workspace_id = request.get("workspace_id")
    from helpers.main_helpers.main_response_preparation import WORKSPACE_STATES
    state = WORKSPACE_STATES.get(workspace_id)
    if not state:
        return {"success": False, "error": "No SQL generation state found for this workspace"}
    from thoth_qdrant import SqlDocument
    sql_doc = SqlDocument(question=state.question, sql=state.last_SQL)

    # Save to vector database
    try:
        # Use the correct method for adding SQL documents
        state.vdbmanager.add_sql(sql_doc)
        logger.info(f"SQL feedback saved for workspace {workspace_id}")
        return {"success": True}
    except Exception as e:
        return {"success": False, "error": f"Failed to save to vector database: {str(e)}"}
