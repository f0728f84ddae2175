"""The HTTP interface: ``POST /generate-sql``, ``/health`` and ``/ready``.

``uvicorn --factory example_service.app:create_app`` runs it.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from example_service.encoder import BusyError, Encoder, NotReadyError
from example_service.generation import Index, Level, Question, generate
from example_service.settings import Settings
from example_service.workspace import WORKSPACES
from thoth_models import ThothModelsError, load_embedding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from thoth_models import Embedding

_log = logging.getLogger(__name__)


class GenerateSqlRequest(BaseModel):
    """The body of ``POST /generate-sql``."""

    model_config = ConfigDict(extra="forbid")

    question: Annotated[str, Field(min_length=1, max_length=10_000)]
    workspace_id: int
    functionality_level: Level = "BASIC"
    flags: dict[str, bool] = {}
    """``use_evidence`` (on by default) searches the evidence; others are of no meaning here, and accepted."""


def create_app(settings: Settings | None = None, load: Callable[..., Embedding] = load_embedding) -> FastAPI:
    """Make the application.

    Args:
        settings: The settings; None reads them from the environment.
        load: Loads the model; tests put one of their own here.
    """
    settings = settings if settings is not None else Settings.from_environment(os.environ)
    indexes: dict[int, Index] = {}

    def warm(embedding: Embedding) -> None:
        indexes.update({number: Index.of(workspace, embedding) for number, workspace in WORKSPACES.items()})

    encoder = Encoder(
        partial(load, settings.model, expect_space=settings.expect_space, timeout=settings.load_seconds),
        warm,
        workers=settings.encode_workers,
        most_waiting=settings.most_waiting,
        encode_seconds=settings.encode_seconds,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # In the background, so that /health answers at once; a load that fails is told by /ready.
        encoder.start()
        try:
            yield
        finally:
            encoder.close()

    app = FastAPI(title="SQL generator, an example for thoth-models", lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the process lives; says nothing of the model, so that no orchestrator restarts a busy process."""
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Tell whether requests can be answered: the model verified, loaded, proved, and the index made."""
        if encoder.state != "ready":
            return JSONResponse({"ready": False, "state": encoder.state, "reason": encoder.reason}, 503)
        info = encoder.embedding.info
        return JSONResponse(
            {
                "ready": True,
                "state": encoder.state,
                "model": info.model,
                "variant": info.variant,
                "space": info.space,
                "bundle_digest": info.bundle_digest,
                "golden_cosine": info.golden_cosine,
                "degraded": info.fallback,
                "verify_seconds": round(info.verify_seconds, 4),
                "load_seconds": round(info.load_seconds, 4),
            }
        )

    @app.post("/generate-sql", response_model=None)
    async def generate_sql(request: GenerateSqlRequest) -> StreamingResponse | JSONResponse:
        """Answer a question; one JSON object a line, for each phase as soon as it is done."""
        if request.workspace_id not in WORKSPACES:
            known = ", ".join(map(str, WORKSPACES))
            return _refusal(404, f"workspace_id: expected one of {known}, found {request.workspace_id}")
        try:
            await encoder.wait(settings.patience_seconds)
        except NotReadyError as error:
            return _refusal(503, str(error), retry_after=1)
        if encoder.is_busy:
            return _refusal(503, "too many questions are waiting already", retry_after=1)
        question = Question(
            text=request.question,
            level=request.functionality_level,
            use_evidence=request.flags.get("use_evidence", True),
        )
        phases = generate(question, indexes[request.workspace_id], encoder, settings)
        return StreamingResponse(_lines(phases), media_type="application/x-ndjson")

    return app


async def _lines(phases: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Yield each phase as a line; what goes wrong in one is the last line, for the status was sent long before."""
    try:
        async for phase in phases:
            yield _line(phase)
    except BusyError as error:
        yield _line({"phase": "error", "error": "busy", "message": str(error)})
    except TimeoutError:
        yield _line({"phase": "error", "error": "timeout", "message": "the model did not answer within its deadline"})
    except ThothModelsError as error:
        _log.exception("a phase failed")
        yield _line({"phase": "error", "error": type(error).__name__, "message": str(error)})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _refusal(status: int, message: str, *, retry_after: int | None = None) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"detail": message}, status, headers)
