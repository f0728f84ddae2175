"""Small calls that come at the same time, run as one: a batch costs little more than the one text of a lone caller.

Nobody waits for others to come. A call that finds the backend at rest runs at once, alone; those that come while it
runs are gathered, and the next run takes all of them. So the wait is bounded by the run that is in progress, and a lone
caller never waits at all.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, final

import numpy as np

from thoth_models.deadline import copy_of
from thoth_models.errors import BackendError, ThothModelsError
from thoth_models.forking import at_fork

if TYPE_CHECKING:
    from thoth_models.embedding import Backend, FloatArray

_MOST_TEXTS_OF_A_CALL = 16
"""A call with more texts than that is a batch already."""

_MOST_TEXTS_OF_A_RUN = 256
"""Texts that are gathered into one run: beyond that nothing gets quicker, and whoever came first waits longer."""


_LONGEST_WAIT = 0.1
"""Seconds after which whoever waits looks again whether somebody runs its texts."""


@final
class _Call:
    """One caller's texts, until they are done."""

    __slots__ = ("error", "hint", "prompt", "texts", "vectors")

    def __init__(self, texts: list[str], prompt: str | None) -> None:
        self.texts = texts
        self.prompt = prompt or None
        self.vectors: FloatArray | None = None
        self.error: BaseException | None = None
        self.hint = threading.Lock()  # released to say: look again
        self.hint.acquire()

    @property
    def is_done(self) -> bool:
        """Whether there are vectors or an error."""
        return self.vectors is not None or self.error is not None

    def tell(self) -> None:
        """Have its caller look again. Where that is lost, because of an interrupt, it looks again anyway."""
        with contextlib.suppress(RuntimeError):  # it was told already
            self.hint.release()


@final
class GatheringBackend:
    """A backend whose small calls are gathered while it runs. Threads may share it.

    Whoever holds ``_running`` runs its own texts and those of others. It is a plain lock, held by a ``with`` statement
    alone, because a signal handler may raise between any two steps of the main thread's: whatever is lost then, that
    lock is given back, and the others look again.

    Args:
        backend: What runs them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.RLock()
        self._running = threading.Lock()
        self._waiting: list[_Call] = []
        self._inside: set[int] = set()  # the threads whose calls are gathered
        at_fork(self)

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return what the backend gives for these texts; others may have been run along with them.

        A call with many texts, or one that says how to run them, goes to the backend as it is; so does that of a signal
        handler which interrupted its own thread in here, and would wait for that.
        """
        me = threading.get_ident()
        is_batch = len(texts) > _MOST_TEXTS_OF_A_CALL or batch_size is not None or show_progress_bar
        if is_batch or me in self._inside:
            return self._backend.encode(
                texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
            )
        call = _Call(texts, prompt)
        try:
            self._inside.add(me)
            with self._lock:
                self._waiting.append(call)
            self._finish(call)
        finally:
            # Whatever ended this call, an interrupt too.
            self._inside.discard(me)
            self._leave(call)
        if call.error is not None:
            try:
                raise call.error
            finally:
                # The error's frames have this call: a cycle, which keeps alive whatever its callers have.
                call.error = None
        if call.vectors is None:
            raise AssertionError("expected a call that is done to have its vectors")
        return call.vectors

    def _finish(self, call: _Call) -> None:
        """Wait until somebody has run this call, or run it."""
        while not call.is_done:
            if self._running.locked():
                call.hint.acquire(timeout=_LONGEST_WAIT)
                continue
            with self._running:
                # Another one may have come first, and run these as well.
                if not call.is_done:
                    # Who waits longest is first: beside one that never rests, and has another prompt, it would wait for
                    # ever.
                    self._run_with_others(self._oldest(call), call)

    def _oldest(self, call: _Call) -> _Call:
        with self._lock:
            return next((other for other in self._waiting if not other.is_done), call)

    def _run_with_others(self, first: _Call, mine: _Call) -> None:
        calls = self._gathered(first)
        try:
            self._run(calls)
        finally:
            self._put_back(calls, mine)

    def _put_back(self, calls: list[_Call], mine: _Call) -> None:
        """Have those run first that an interrupt kept from being run."""
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
            following.tell()

    def _gathered(self, call: _Call) -> list[_Call]:
        """Take what can run together from those that wait: this one, and all with its prompt, in their order."""
        with self._lock:
            taken = _alike(call, self._waiting)
            self._waiting = _without(self._waiting, taken)
        return taken

    def _run(self, calls: list[_Call]) -> None:
        texts = [text for call in calls for text in call.texts]
        try:
            vectors = self._backend.encode(texts, prompt=calls[0].prompt, batch_size=None, show_progress_bar=False)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the call that it belongs to
            if len(calls) > 1 and (isinstance(error, BackendError) or not isinstance(error, ThothModelsError)):
                # The texts of one call may be at fault. The others have nothing to do with that.
                for call in calls:
                    self._run([call])
                return
            # Nothing that another attempt would change, and each might take as long as its deadline.
            for call in calls:
                call.error = copy_of(error) if call is not calls[0] else error
                call.tell()
            return
        ends = np.cumsum([len(call.texts) for call in calls])
        for call, rows in zip(calls, np.split(vectors, ends[:-1]), strict=True):
            # A copy: what one caller keeps must not keep the vectors of all others.
            call.vectors = rows.copy()
            call.tell()

    def _inherited(self) -> None:
        """Be what a child of ``fork`` can use: calls of the parent's other threads never end there."""
        self._lock = threading.RLock()
        self._running = threading.Lock()
        self._waiting = []
        self._inside = set()


# Functions, and not loops within `with` and `try`: in CPython 3.13, what a signal handler raises where a loop with a
# condition begins anew leaves those without their end (python/cpython#130279), and a lock would stay locked.
def _alike(call: _Call, waiting: list[_Call]) -> list[_Call]:
    taken = [call]
    count = len(call.texts)
    for other in waiting:
        is_alike = other is not call and not other.is_done and other.prompt == call.prompt
        if is_alike and count + len(other.texts) <= _MOST_TEXTS_OF_A_RUN:
            taken.append(other)
            count += len(other.texts)
    return taken


def _without(calls: list[_Call], taken: list[_Call]) -> list[_Call]:
    return [call for call in calls if call not in taken]
