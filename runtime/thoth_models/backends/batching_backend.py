"""A wrapper that joins small concurrent calls into one batch, which costs little more than a single text.

No call waits for others to arrive. A call that finds the backend idle runs immediately, alone. Calls that arrive
meanwhile are collected, and the next run takes all of them. So a call waits at most for the run in progress, and a lone
caller never waits.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, final

import numpy as np

from thoth_models.errors import BackendError, InvalidInputError, ThothModelsError
from thoth_models.process.fork import ForkAware, at_fork
from thoth_models.process.signals import Signal
from thoth_models.process.task import copy_of

if TYPE_CHECKING:
    from thoth_models.types import Backend, FloatArray

_MAX_TEXTS_OF_A_CALL = 16
"""A call with more texts is not joined with others, because it is a batch already."""

_MAX_TEXTS_OF_A_RUN = 256
"""Maximum number of texts in one run: more do not increase the throughput, and make the first caller wait longer."""


@final
class _Call:
    """The texts of one caller, until there are vectors or an error."""

    __slots__ = ("error", "prompt", "signal", "texts", "vectors")

    def __init__(self, texts: list[str], prompt: str | None) -> None:
        self.texts = texts
        self.prompt = prompt or None
        self.vectors: FloatArray | None = None
        self.error: BaseException | None = None
        self.signal = Signal()

    @property
    def is_done(self) -> bool:
        """Whether there are vectors or an error."""
        return self.vectors is not None or self.error is not None

    def result(self) -> FloatArray:
        """Return the vectors, or raise the error and drop it, because its frames refer to this call."""
        error, self.error = self.error, None
        if self.vectors is not None:
            return self.vectors
        if error is None:
            raise AssertionError("expected a call that is done")
        try:
            raise error
        finally:
            del error


@final
class BatchingBackend(ForkAware):
    """A backend that joins small calls. Threads may share it.

    The thread that holds ``_running`` runs its own texts and those of others. It is a plain lock, held only by a
    ``with`` statement, because a signal handler may raise between any two steps of the main thread. Whatever is lost
    then, the lock is released, and the other threads check again.

    Args:
        backend: The backend.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reset()
        at_fork(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._running = threading.Lock()
        self._waiting: list[_Call] = []
        self._inside: set[int] = set()  # the threads whose calls are collected

    def after_fork_in_child(self) -> None:
        """Drop the calls of the parent's other threads, which would never end here."""
        self._reset()

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the backend's vectors of these texts, which may be run together with the texts of other calls.

        A call with many texts, or with options for running them, goes to the backend directly. So does the call of a
        signal handler that interrupted its own thread in this method, which would otherwise wait for itself.
        """
        me = threading.get_ident()
        is_batch = len(texts) > _MAX_TEXTS_OF_A_CALL or batch_size is not None or show_progress_bar
        if is_batch or me in self._inside:
            return self._backend.encode(
                texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
            )
        call = _Call(texts, prompt)
        try:
            self._inside.add(me)
            with self._lock:
                self._waiting.append(call)
            call.signal.wait_until(lambda: self._is_finished(call))
        finally:
            # Even if the call was interrupted.
            self._inside.discard(me)
            self._leave(call)
        return call.result()

    def _is_finished(self, call: _Call) -> bool:
        """Return whether a call is done; if no other thread runs the waiting calls, run them until it is."""
        while not call.is_done and not self._running.locked():
            self._run_the_next(call)
        return call.is_done

    def _run_the_next(self, call: _Call) -> None:
        with self._running:
            # Another thread may have got the lock first, and run this call as well.
            if not call.is_done:
                # The call that waits longest is first: beside a thread that never rests, and has another prompt, it
                # would wait for ever.
                self._run_with_others(self._oldest(call), call)

    def _oldest(self, call: _Call) -> _Call:
        with self._lock:
            return next((other for other in self._waiting if not other.is_done), call)

    def _run_with_others(self, first: _Call, mine: _Call) -> None:
        calls = self._take(first)
        try:
            self._run(calls)
        finally:
            self._put_back(calls, mine)

    def _put_back(self, calls: list[_Call], mine: _Call) -> None:
        """Put calls whose run was interrupted back in front of the queue."""
        undone = [other for other in calls if not other.is_done and other is not mine]
        if undone:
            with self._lock:
                self._waiting[:0] = undone

    def _leave(self, call: _Call) -> None:
        with self._lock:
            if call in self._waiting:
                self._waiting.remove(call)
            following = self._waiting[0] if self._waiting else None
        if following is not None and not self._running.locked():
            following.signal.notify()

    def _take(self, call: _Call) -> list[_Call]:
        """Take the waiting calls that can run together: this one, and all with the same prompt, in their order."""
        with self._lock:
            taken = _alike(call, self._waiting)
            self._waiting = _without(self._waiting, taken)
        return taken

    def _run(self, calls: list[_Call]) -> None:
        texts = [text for call in calls for text in call.texts]
        try:
            vectors = self._backend.encode(texts, prompt=calls[0].prompt, batch_size=None, show_progress_bar=False)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the call that it belongs to
            may_be_of_texts = isinstance(error, (BackendError, InvalidInputError))
            if len(calls) > 1 and (may_be_of_texts or not isinstance(error, ThothModelsError)):
                # The texts of one call may be the cause, so each call is run alone. Then an index in the error is that
                # in the list of its caller.
                for call in calls:
                    self._run([call])
                return
            # The error is not about texts: another attempt would fail too, and might take until its deadline.
            for call in calls:
                call.error = copy_of(error)
                call.signal.notify()
            return
        ends = np.cumsum([len(call.texts) for call in calls])
        for call, rows in zip(calls, np.split(vectors, ends[:-1]), strict=True):
            # A copy, so that a caller that keeps its vectors does not keep those of all others.
            call.vectors = rows.copy()
            call.signal.notify()


# Functions instead of loops inside `with` and `try`: in CPython 3.13, an exception that a signal handler raises at the
# start of an iteration skips the exit of those blocks (python/cpython#130279), and a lock would stay locked.
def _alike(call: _Call, waiting: list[_Call]) -> list[_Call]:
    taken = [call]
    count = len(call.texts)
    for other in waiting:
        is_alike = other is not call and not other.is_done and other.prompt == call.prompt
        if is_alike and count + len(other.texts) <= _MAX_TEXTS_OF_A_RUN:
            taken.append(other)
            count += len(other.texts)
    return taken


def _without(calls: list[_Call], taken: list[_Call]) -> list[_Call]:
    return [call for call in calls if call not in taken]
