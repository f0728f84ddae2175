"""The model of the service: loaded in the background, within a deadline, and called outside of the event loop.

Copy this file. The manager already keeps the event loop free, joins small calls that arrive at the same time, and ends
loading at its deadline. This class adds two things that a service needs: a failed load becomes a readable state, and
the number of waiting calls is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from thoth_models import Embedding, EmbeddingManager

    Vectors = NDArray[np.float32]

State = Literal["loading", "ready", "failed"]

_log = logging.getLogger(__name__)

_TEXTS_AT_ONCE = 256
"""A longer list is encoded in pieces, so that questions in between get their turn."""


class NotReadyError(Exception):
    """The model is still loading, or failed to load; the message says which."""


class BusyError(Exception):
    """The maximum number of calls is waiting already."""


class Encoder:
    """A model that is loading, ready, or failed.

    Args:
        manager: Holds the model; its settings limit how long loading takes, and how many calls run at once.
        model: Name or alias of the model.
        warm: Called with the model, in a thread, before the model counts as ready.
        most_waiting: Maximum number of calls that wait for their turn.
        encode_seconds: Deadline of a call, including the time in the queue.
    """

    def __init__(
        self,
        manager: EmbeddingManager,
        model: str,
        warm: Callable[[Embedding], None],
        *,
        most_waiting: int,
        encode_seconds: float,
    ) -> None:
        self._manager = manager
        self._model = model
        self._warm = warm
        self._encode_seconds = encode_seconds
        self._most_calls = manager.config.async_threads + most_waiting
        self._calls = 0
        self._embedding: Embedding | None = None
        self._finished = asyncio.Event()
        self.state: State = "loading"
        self.reason = "the model is being loaded"
        """Why the model is not ready; empty if it is."""

    @property
    def embedding(self) -> Embedding:
        """The model.

        Raises:
            NotReadyError: The model is not loaded.
        """
        if self._embedding is None:
            raise NotReadyError(self.reason)
        return self._embedding

    def start(self) -> None:
        """Start loading and warming up the model. An error becomes the state ``failed``, with its reason."""
        # A thread of its own, and a daemon: the process may be stopped while the model is being loaded.
        threading.Thread(target=self._prepare, args=(asyncio.get_running_loop(),), name="start", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether the maximum number of calls is running or waiting."""
        return self._calls >= self._most_calls

    async def wait(self, seconds: float) -> Embedding:
        """Return the model; if it is still loading, wait for it at most so long.

        Raises:
            NotReadyError: Loading failed, or takes longer.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._finished.wait()
        except TimeoutError:
            raise NotReadyError(self.reason) from None
        return self.embedding

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of ``texts``: float32 of shape (n, dimension), unit length; (0, dimension) for none.

        Raises:
            NotReadyError: The model is not loaded.
            BusyError: Too many calls are waiting already.
            TimeoutError: The deadline passed. The call may continue in its thread; its result is dropped.
        """
        self.embedding  # noqa: B018 - raises where there is none
        if self.is_busy:
            raise BusyError(
                f"{self._most_calls} calls of the model are running or waiting, which is the most there may be"
            )
        self._calls += 1
        try:
            async with asyncio.timeout(self._encode_seconds):
                return await self._manager.aencode(list(texts), self._model)
        finally:
            # If the caller goes away, a waiting call is cancelled; a running one continues, and keeps its thread until
            # its end.
            self._calls -= 1

    async def encode_many(self, texts: Sequence[str]) -> list[Vectors]:
        """Return the vectors of any number of texts; they are encoded in pieces, each with :meth:`encode`."""
        pieces = [texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE)]
        return [await self.encode(piece) for piece in pieces]

    def stats(self) -> dict[str, Any]:
        """Return the manager's statistics, by model."""
        return self._manager.stats().as_dict()

    def close(self) -> None:
        """Start no further call."""
        self._manager.close()

    def _prepare(self, loop: asyncio.AbstractEventLoop) -> None:
        embedding: Embedding | None = None
        reason = ""
        try:
            embedding = self._manager.get_model(self._model)
            self._warm(embedding)
        except Exception as error:  # noqa: BLE001 - any error, or the model would seem to load for ever
            _log.exception("the model cannot be used")
            reason = f"{type(error).__name__}: {error}"
        with contextlib.suppress(RuntimeError):  # the loop was closed, so no call waits any more
            loop.call_soon_threadsafe(self._finish, embedding, reason)

    def _finish(self, embedding: Embedding | None, reason: str) -> None:
        self.reason = reason
        if reason:
            self.state = "failed"
        else:
            self.state, self._embedding = "ready", embedding
        self._finished.set()
