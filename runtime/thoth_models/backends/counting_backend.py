"""The wrapper that counts calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.types import Backend, FloatArray


@final
class CountingBackend:
    """A backend whose calls are counted. Threads may share it.

    Args:
        backend: The backend.
        count: Called after each call with the amounts to add to ``calls``, ``texts``, ``encode_seconds``, ``failures``.
    """

    def __init__(self, backend: Backend, count: Callable[..., None]) -> None:
        self._backend = backend
        self._count = count

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the backend's vectors of these texts."""
        started = time.monotonic()
        try:
            vectors = self._backend.encode(
                texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
            )
        except BaseException:
            self._count(failures=1)
            raise
        self._count(calls=1, texts=len(texts), encode_seconds=time.monotonic() - started)
        return vectors
