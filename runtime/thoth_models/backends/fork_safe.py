"""The wrapper that makes a backend usable after a fork."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, final

from thoth_models.process.fork import ForkAware, at_fork, never_destroy

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.process.task import Task
    from thoth_models.types import Backend, FloatArray


@final
class ForkSafeBackend(ForkAware):
    """A backend that a child of ``fork`` loads again at its first call. Threads may share it.

    Args:
        backend: The backend that this process loaded.
        reload: Returns the task of loading it again, with its own deadline.
    """

    def __init__(self, backend: Backend, reload: Callable[[], Task[Backend]]) -> None:
        self._backend: Backend | None = backend
        self._reload = reload
        self._task: Task[Backend] | None = None
        self._lock = threading.RLock()
        at_fork(self)

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the vectors of this process's backend.

        Raises:
            LoadTimeout: This is a child, and loading the model again took too long.
            ThothModelsError: This is a child, and the model could not be loaded again.
        """
        backend = self._backend
        if backend is None:
            backend = self._backend = self._reloading().result()
        return backend.encode(texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar)

    def _reloading(self) -> Task[Backend]:
        """Return the task that all threads share. A hanging task continues; a failed one is replaced by a new one."""
        with self._lock:
            if self._task is None or self._task.has_failed:
                self._task = self._reload()
            return self._task

    def after_fork_in_child(self) -> None:
        """Put the parent's backend away without destroying it."""
        never_destroy(self._backend, self._task)
        self._backend = self._task = None
        self._lock = threading.RLock()  # a thread of the parent may hold the old one
