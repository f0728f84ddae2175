"""The HTTP interface: ``POST /generate-sql``, ``PUT /workspaces/{number}``, ``/health``, ``/ready`` and ``/stats``.

``uvicorn --factory example_service.app:create_app`` runs it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse

from example_service.bodies import GenerateSqlRequest, WorkspaceBody  # noqa: TC001 - FastAPI reads the annotations
from example_service.draining import Draining
from example_service.encoder import BusyError, Encoder, NotReadyError
from example_service.generation import Question, generate
from example_service.index import Index
from example_service.settings import Settings
from example_service.workspace import WORKSPACES
from thoth_models import EmbeddingManager, ThothModelsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from thoth_models import Embedding

_log = logging.getLogger(__name__)

_TIMED_OUT = "the model did not answer within its deadline"


def create_app(
    settings: Settings | None = None, manager: EmbeddingManager | None = None, draining: Draining | None = None
) -> FastAPI:
    """Create the application.

    Args:
        settings: The settings; None reads them from the environment.
        manager: Holds the model; None for the one of this process, with these settings. The application closes it.
        draining: Set by the server when the process is asked to stop; None where the server has nothing of that kind.
    """
    settings = settings if settings is not None else Settings.from_environment(os.environ)
    manager = manager or EmbeddingManager.get_instance(settings.manager_config())
    service = _Service(settings, manager, draining or Draining())
    app = FastAPI(title="SQL generator, an example for thoth-models", lifespan=service.lifespan)
    app.get("/health")(service.health)
    app.get("/ready")(service.ready)
    app.get("/stats")(service.stats)
    app.put("/workspaces/{number}")(service.index_workspace)
    app.post("/generate-sql", response_model=None)(service.generate_sql)
    return app


class _Service:
    """The routes, and their shared state."""

    def __init__(self, settings: Settings, manager: EmbeddingManager, draining: Draining) -> None:
        self._settings = settings
        self._draining = draining
        self._indexes: dict[int, Index] = {}
        self._encoder = Encoder(
            manager,
            settings.model,
            self._warm,
            most_waiting=settings.most_waiting,
            encode_seconds=settings.encode_seconds,
        )

    def _warm(self, embedding: Embedding) -> None:
        for number, workspace in WORKSPACES.items():
            self._indexes[number] = Index.of(workspace, [embedding.encode(Index.documents(workspace))])

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Load the model in the background, so that /health answers immediately; /ready reports a failed load."""
        self._encoder.start()
        try:
            yield
        finally:
            self._encoder.close()

    async def health(self) -> dict[str, str]:
        """Report that the process runs, whatever the model does: orchestrators must not restart a busy process."""
        return {"status": "alive"}

    async def ready(self) -> JSONResponse:
        """Report whether requests may be sent: the model is verified, loaded and checked, and nothing stops."""
        if self._draining.since is not None:
            return JSONResponse({"ready": False, "state": "draining", "reason": "the process was asked to stop"}, 503)
        encoder = self._encoder
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

    async def stats(self) -> dict[str, Any]:
        """Return the statistics of the models, for a metrics exporter."""
        return self._encoder.stats()

    async def index_workspace(self, number: int, body: WorkspaceBody) -> JSONResponse:
        """Build the index of a workspace, which replaces the previous one."""
        started = time.monotonic()
        workspace = body.workspace()
        try:
            embedding = await self._encoder.wait(self._settings.patience_seconds)
            vectors = await self._encoder.encode_many(Index.documents(workspace))
        except (NotReadyError, BusyError) as error:
            return _refusal(503, str(error), retry_after=1)
        except TimeoutError:
            return _refusal(504, _TIMED_OUT)
        except ThothModelsError as error:
            _log.exception("the index could not be built")
            return _refusal(500, f"{type(error).__name__}: {error}")
        # At once: a question meanwhile is answered from the index that was there.
        self._indexes[number] = Index.of(workspace, vectors)
        counts = {name: len(getattr(workspace, name)) for name in ("columns", "evidence", "examples")}
        seconds = round(time.monotonic() - started, 4)
        return JSONResponse({"workspace_id": number, **counts, "space": embedding.info.space, "seconds": seconds})

    async def generate_sql(self, request: GenerateSqlRequest) -> StreamingResponse | JSONResponse:
        """Answer a question with one JSON object per line, one for each phase, as soon as it is done."""
        try:
            await self._encoder.wait(self._settings.patience_seconds)
        except NotReadyError as error:
            return _refusal(503, str(error), retry_after=1)
        index = self._indexes.get(request.workspace_id)
        if index is None:
            known = ", ".join(map(str, sorted(self._indexes)))
            return _refusal(404, f"workspace_id: expected one of {known}, found {request.workspace_id}")
        if self._encoder.is_busy:
            return _refusal(503, "too many questions are waiting already", retry_after=1)
        question = Question(
            text=request.question,
            level=request.functionality_level,
            use_evidence=request.flags.get("use_evidence", True),
            use_examples=request.flags.get("use_examples", True),
        )
        phases = generate(question, index, self._encoder, self._settings)
        return StreamingResponse(_lines(phases), media_type="application/x-ndjson")


async def _lines(phases: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Yield each phase as a line. An error becomes the last line, because the status was sent before."""
    try:
        async for phase in phases:
            yield _line(phase)
    except BusyError as error:
        yield _line({"phase": "error", "error": "busy", "message": str(error)})
    except TimeoutError:
        yield _line({"phase": "error", "error": "timeout", "message": _TIMED_OUT})
    except ThothModelsError as error:
        _log.exception("a phase failed")
        yield _line({"phase": "error", "error": type(error).__name__, "message": str(error)})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _refusal(status: int, message: str, *, retry_after: int | None = None) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"detail": message}, status, headers)
