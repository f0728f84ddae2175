"""The phases before SQL is written: keywords of the question, and what the index knows of them."""

import json
import logging

from fastapi import Request

from model.system_state import SystemState

logger = logging.getLogger(__name__)


async def _extract_keywords_phase(
    state: SystemState,
    request,
    http_request: Request
):
    """Find the words that carry the question; a language model does it elsewhere."""
    yield "THOTHLOG:Extracting keywords...\n"
    words = (word.strip("?,.") for word in state.question.split())
    state.keywords = list(dict.fromkeys(word for word in words if len(word) > 3))


async def _retrieve_context_phase(
    state: SystemState,
    request,
    http_request: Request
):
    """Ask the vector store, and compare the names of columns and their values with the question."""
    # Get evidences and SQL shots from vector databases
    evidence_success, evidence_list, evidence_error = state.get_evidence_from_vector_db()
    sql_success, sql_examples, sql_error = state.get_sql_from_vector_db()
    
    for success, error in ((evidence_success, evidence_error), (sql_success, sql_error)):
        if not success:
            yield f"SYSTEM_WARNING:{json.dumps({'message': error})}\n"

    # Extract schema using LSH similarity search  
    yield "THOTHLOG:Extracting example values from LSH\n"
    try:
        state.extract_schema_via_lsh() # updates similar_columns and schema_with_examples - VITAL, not optional!
        if not state.similar_columns and not state.schema_with_examples:
            yield "THOTHLOG:LSH extraction returned no results\n"
    except Exception as e:
        yield f"CRITICAL_ERROR:{json.dumps({'message': str(e)})}\n"
        return

    # Extract schema from vector database
    yield "THOTHLOG:Extracting schema from vector database\n"
    try:
        state.extract_schema_from_vectordb() # updates schema_from_vector_db with column descriptions
        if not state.schema_from_vector_db:
            yield "THOTHLOG:Vector DB schema extraction returned no results\n"
    except Exception as e:
        yield f"SYSTEM_WARNING:{json.dumps({'message': str(e)})}\n"
