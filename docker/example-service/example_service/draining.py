"""How the process ends: it stops being ready first, serves meanwhile, and resets no connection that it has accepted.

A load balancer learns by ``/ready`` that a replica leaves, and needs a few checks for that. A replica that closes its
port at once loses the requests that are sent to it until then.
"""

from __future__ import annotations

import math
import signal
import time
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from types import FrameType

    from example_service.settings import Settings

GRACE_SECONDS = 1.0
"""Time in which a client that has a connection may still send its request. docs/processes.md has the reason."""


class Draining:
    """Whether the process was asked to stop; shared by the server, which sets it, and ``/ready``, which reports it."""

    def __init__(self) -> None:
        self.since: float | None = None

    def begin(self) -> None:
        """Begin, unless it has begun already."""
        if self.since is None:
            self.since = time.monotonic()

    def has_lasted(self, seconds: float) -> bool:
        """Whether the process was asked to stop at least so long ago."""
        return self.since is not None and time.monotonic() - self.since >= seconds


class DrainingProtocol(H11Protocol):
    """HTTP whose connections without a request are closed a moment after the server stops, and not at once."""

    def shutdown(self) -> None:
        """Close the connection: after the answer that is being sent, or after a moment if no request was read."""
        if cast("object", self.cycle) is None:  # its type does not say so
            self.loop.call_later(GRACE_SECONDS, self._end)
        else:
            super().shutdown()

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


class DrainingServer(uvicorn.Server):
    """A server that SIGTERM stops after ``drain_seconds``; SIGINT, or a second SIGTERM, stops it at once."""

    def __init__(self, config: uvicorn.Config, draining: Draining, drain_seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first SIGTERM; uvicorn calls this in a signal handler."""
        if sig == signal.SIGTERM and self._drain_seconds > 0 and self._draining.since is None:
            self._draining.begin()
            return
        self._draining.begin()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Stop when the time is over; uvicorn asks ten times a second."""
        if self._draining.has_lasted(self._drain_seconds):
            self.should_exit = True
        return await super().on_tick(counter)


def make_server(app: object, settings: Settings, draining: Draining, *, host: str, port: int) -> DrainingServer:
    """Return the server of the application."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI application
        host=host,
        port=port,
        http=DrainingProtocol,
        # After this, requests that still run are cancelled: longer than the longest one, shorter than the grace period
        # of the container less drain_seconds.
        timeout_graceful_shutdown=math.ceil(settings.stop_seconds),
    )
    return DrainingServer(config, draining, settings.drain_seconds)
