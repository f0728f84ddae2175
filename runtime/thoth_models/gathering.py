"""Small calls that come at the same time, run as one: a batch costs little more than the one text of a lone caller.

Nobody waits for others to come. A call that finds the backend at rest runs at once, alone; those that come while it
runs are gathered, and the next run takes all of them. So the wait is bounded by the run that is in progress, and a lone
caller never waits at all.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, final

import numpy as np

from thoth_models.forking import at_fork

if TYPE_CHECKING:
    from thoth_models.embedding import Backend, FloatArray

_MOST_TEXTS_OF_A_CALL = 16
"""A call with more texts than that is a batch already."""

_MOST_TEXTS_OF_A_RUN = 256
"""Texts that are gathered into one run: beyond that nothing gets quicker, and whoever came first waits longer."""


@final
class _Call:
    """One caller's texts, until they are done, or until it is up to this caller to run those of several."""

    __slots__ = ("error", "prompt", "texts", "to_run", "vectors", "woken")

    def __init__(self, texts: list[str], prompt: str | None) -> None:
        self.texts = texts
        self.prompt = prompt or None
        self.vectors: FloatArray | None = None
        self.error: Exception | None = None
        self.to_run: list[_Call] | None = None
        self.woken = threading.Event()


@final
class GatheringBackend:
    """A backend whose small calls are gathered while it runs. Threads may share it.

    Args:
        backend: What runs them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._is_running = False
        at_fork(self)

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return what the backend gives for these texts; others may have been run along with them.

        A call with many texts, or one that says how to run them, goes to the backend as it is.
        """
        if len(texts) > _MOST_TEXTS_OF_A_CALL or batch_size is not None or show_progress_bar:
            return self._backend.encode(
                texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
            )
        call = _Call(texts, prompt)
        try:
            self._enter(call)
            call.woken.wait()
            if call.to_run is not None:
                self._run(call.to_run)
        finally:
            # Whatever ended this call, an interrupt too: it is no longer waited for, and somebody runs the others.
            self._leave(call)
        if call.error is not None:
            raise call.error
        if call.vectors is None:
            raise AssertionError("expected a call that was woken to have its vectors")
        return call.vectors

    def _enter(self, call: _Call) -> None:
        with self._lock:
            if self._is_running:
                self._waiting.append(call)
            else:
                self._is_running = True
                call.to_run = [call]
                call.woken.set()

    def _leave(self, call: _Call) -> None:
        with self._lock:
            if call in self._waiting:
                self._waiting.remove(call)
            if call.to_run is None:
                return
            # Those that it was to run and did not, because it was interrupted, come first.
            self._waiting[:0] = [other for other in call.to_run if other is not call and not other.woken.is_set()]
            call.to_run = None
            self._is_running = bool(self._waiting)
            if self._is_running:
                following = self._gathered()
                following[0].to_run = following
                following[0].woken.set()

    def _gathered(self) -> list[_Call]:
        """Take from those that wait what can run together: the first, and all with its prompt, in their order."""
        first = self._waiting[0]
        taken: list[_Call] = []
        count = 0
        for call in self._waiting:
            if call.prompt == first.prompt and (not taken or count + len(call.texts) <= _MOST_TEXTS_OF_A_RUN):
                taken.append(call)
                count += len(call.texts)
        self._waiting = [call for call in self._waiting if call not in taken]
        return taken

    def _run(self, calls: list[_Call]) -> None:
        texts = [text for call in calls for text in call.texts]
        try:
            vectors = self._backend.encode(texts, prompt=calls[0].prompt, batch_size=None, show_progress_bar=False)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the call that it belongs to
            if len(calls) > 1:
                # The texts of one call may be at fault. The others have nothing to do with that.
                for call in calls:
                    self._run([call])
                return
            calls[0].error = error
            calls[0].woken.set()
            return
        ends = np.cumsum([len(call.texts) for call in calls])
        for call, rows in zip(calls, np.split(vectors, ends[:-1]), strict=True):
            # A copy: what one caller keeps must not keep the vectors of all others.
            call.vectors = rows.copy()
            call.woken.set()

    def _inherited(self) -> None:
        """Be what a child of ``fork`` can use: calls of the parent's other threads never end there."""
        self._lock = threading.Lock()
        self._waiting = []
        self._is_running = False
