"""What the processes of a server tell of themselves; imported there, beside the files of docs/processes.md.

Each process that has begun writes a file into the directory ``RECORDS``, named after its number.
"""

from __future__ import annotations

import functools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

_HEADER = "X-Process"


def age() -> float:
    """Return the seconds since this process began: since it was forked, or since its interpreter was executed."""
    # The fields behind the name, which may have blanks in it; the 20th of them counts ticks since the system began.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def beginning() -> dict[str, bool]:
    """Return what this process begins with; call it before anything is loaded here."""
    from thoth_models import EmbeddingManager
    from thoth_models.process.fork import _has_inherited_tokenizers

    manager = EmbeddingManager.get_instance()
    return {"begins_loaded": manager.is_loaded("mini"), "inherited": _has_inherited_tokenizers}


def record(begun: dict[str, bool]) -> None:
    """Have this process make a vector, and write down how long after its beginning that is."""
    from thoth_models import EmbeddingManager

    EmbeddingManager.get_instance().encode("the first text of this process", "mini")
    facts = {"seconds": age(), "processor_seconds": time.process_time(), **begun}
    facts["begun"] = time.time() - facts["seconds"]
    path = Path(os.environ["RECORDS"], f"{os.getpid()}.json")
    temporary = path.with_suffix(".begun")
    temporary.write_text(json.dumps(facts), encoding="utf-8")
    temporary.rename(path)


def recorded_hook(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return gunicorn's ``post_worker_init``, which also writes down what became of it."""

    @functools.wraps(hook)
    def post_worker_init(worker: Any) -> None:
        begun = beginning()
        hook(worker)
        record(begun)

    return post_worker_init


def recorded_wsgi(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application whose answers say which process gave them."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, (_HEADER, str(os.getpid()))], *more)

        return application(environ, start)

    return wrapped


def recorded_asgi(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application whose answers say which process gave them, and whose start is written down."""

    async def wrapped(scope: dict[str, Any], receive: Any, send: Any) -> None:
        begun = beginning() if scope["type"] == "lifespan" else {}

        async def told(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                record(begun)
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER.lower().encode(), str(os.getpid()).encode())]
            await send(message)

        await application(scope, receive, told)

    return wrapped
