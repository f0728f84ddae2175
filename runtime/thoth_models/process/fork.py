"""What becomes of loaded models in a child of ``fork``: gunicorn ``--preload``, Celery, ``multiprocessing``.

A child has a copy of its parent's memory, and one thread. What the parent's other threads were in the middle of stays
so for ever: locks that they held, and pools whose threads the child does not have. Calling into a model that was
inherited like that hangs, and so may merely destroying it when the child ends: an onnxruntime session then waits for
its threads to finish. So a child uses nothing that it inherited and destroys nothing: it loads the model again when it
first needs it, from the same bundle and as strictly, and keeps what it inherited untouched. Pages of the weights are
shared, so that this costs little more than hashing them.

Libraries also have locks for the whole process, which they hold while a model is made: a child that was forked in that
moment could never make one. And one that was forked while another thread collected garbage never collects any itself.
So a fork waits for such a moment to pass.

What only the parent's other threads have, in a ``threading.local`` or in an exception that they handle, the interpreter
destroys in the child before it calls anybody. So models are held on to from before the fork until they are put away.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - for its hook, see below
import contextlib
import gc
import importlib._bootstrap
import logging  # noqa: F401 - for its hook, see below
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol, final

from thoth_models.errors import BackendError, LoadTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thoth_models.deadline import Work
    from thoth_models.embedding import Backend, FloatArray

_LIBRARIES = (
    *("thoth_models", "numpy", "onnxruntime", "tokenizers"),
    *("torch", "transformers", "sentence_transformers", "huggingface_hub", "safetensors"),
)
_PARALLELISM = "TOKENIZERS_PARALLELISM"
"""Says whether `tokenizers` works with threads; read by it at each call."""

_PATIENCE = 1.0
"""Seconds that a fork waits for the end of a garbage collection."""

_STEP = 0.001
"""Seconds after which a fork that waits looks again."""

_NO = ("", "0", "f", "false", "n", "no", "off")
"""What `tokenizers` reads as no."""


@final
class ForkSafeBackend:
    """A backend that a child of ``fork`` makes anew when it first needs it. Threads may share it.

    Args:
        backend: The one that this process made.
        reloading: Makes the work of loading it again, with a deadline of its own.
    """

    def __init__(self, backend: Backend, reloading: Callable[[], Work[Backend]]) -> None:
        self._backend: Backend | None = backend
        self._reloading = reloading
        self._work: Work[Backend] | None = None
        self._lock = threading.RLock()
        at_fork(self)

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return what the backend of this process gives.

        Raises:
            LoadTimeout: This is a child, and loading the model again took too long.
            ThothModelsError: This is a child, and the model could not be loaded again.
        """
        backend = self._backend
        if backend is None:
            backend = self._reload()
        return backend.encode(texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar)

    def _reload(self) -> Backend:
        """Load once, however many threads ask; after a failure the next call tries again."""
        with self._lock:
            if self._backend is not None:
                return self._backend
            if self._work is None:
                self._work = self._reloading()
                self._work.start()
            work = self._work
        try:
            backend = work.wait()
        except BaseException as error:
            # One that hangs goes on: the next call waits for it, and starts no second one beside it.
            if work.has_ended and not isinstance(error, LoadTimeout):
                self._ended(work, None)
            del work  # what is raised has this frame, and the work has what is raised
            raise
        self._ended(work, backend)
        return backend

    def _ended(self, work: Work[Backend], backend: Backend | None) -> None:
        with self._lock:
            if self._work is work:
                self._work, self._backend = None, backend

    def _inherited(self) -> None:
        """Let go of what another process made, and never destroy it; called when the child has one thread yet."""
        never_destroy(self._backend, self._work)
        self._backend = self._work = None
        self._lock = threading.RLock()  # a thread of the parent may have held the other


class Inherited(Protocol):
    """What has to be made usable in a child of ``fork``."""

    def _inherited(self) -> None: ...


def at_fork(thing: Inherited) -> None:
    """Have ``thing._inherited()`` called in every child of ``fork``, as long as the thing lives.

    It is called before anything else, in the only thread that the child has then.
    """
    # Now, not in the child: whatever lock guards importing it may be held there for ever.
    importlib.import_module("ctypes")
    _live.add(thing)


def never_destroy(*things: object) -> None:
    """Keep things that another process made for as long as this one lives."""
    import ctypes  # noqa: PLC0415 - it takes milliseconds; at_fork has imported it

    for thing in things:
        # A reference that nothing gives back: at its end the interpreter destroys all that modules hold.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@contextlib.contextmanager
def no_fork(seconds: float) -> Iterator[None]:
    """Hold off forks of other threads for as long as a library may hold a lock of the whole process.

    Args:
        seconds: How long at most: what hangs in there does not keep the process from forking.
    """
    me = threading.get_ident()
    with _gate:
        _holding[me] = time.monotonic() + seconds
    try:
        yield
    finally:
        _holding.pop(me, None)


_gate = threading.RLock()  # a signal handler may fork as well, while its thread waits to fork
_holding: dict[int, float] = {}  # until when, by thread
_pinned: list[list[object]] = []  # by fork that is about to be made: a signal handler may make another one


def _before_fork() -> None:
    """Wait until no thread holds forks off; none that comes later does, until the fork is done.

    What a signal handler raises meanwhile is lost: the interpreter ignores what such a hook raises.
    """
    _gate.acquire()  # the others hold it for one step
    pins: list[object] = []
    _pinned.append(pins)
    me = threading.get_ident()
    while any(thread != me and time.monotonic() < end for thread, end in list(_holding.items())):
        time.sleep(_STEP)
    _end_of_collection()
    for thing in list(_live):
        pins += [thing, getattr(thing, "_backend", None)]


def _end_of_collection() -> None:
    """Wait until no other thread collects garbage: a child would take that for going on for ever, and collect none."""
    if not gc.isenabled():
        return  # whoever wants none gets none here either
    me, begun = threading.get_ident(), []

    def note(phase: str, _info: dict[str, int]) -> None:
        if threading.get_ident() == me:
            begun.append(phase)

    gc.callbacks.append(note)
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            gc.collect(0)
            # Asked to collect while a collection runs, the interpreter does nothing, and does not call back either.
            if begun or time.monotonic() >= end:
                break
            time.sleep(_STEP)
    finally:
        gc.callbacks.remove(note)


def _after_fork_in_parent() -> None:
    pins = _pinned.pop() if _pinned else None
    _gate.release()
    del pins  # only now: what goes with them may take long


_live: weakref.WeakSet[Inherited] = weakref.WeakSet()
_has_inherited_tokenizers = False
_half_imported: tuple[str, ...] = ()


def prepare_load() -> None:
    """Make sure that loading cannot meet what a parent's threads left behind; call it before importing a library.

    Raises:
        BackendError: The parent was importing a library when this process was forked, so that it never can be used.
    """
    if _half_imported:
        raise BackendError(
            f"this process was forked while another thread of its parent was importing {', '.join(_half_imported)}, "
            "which cannot be finished here; load the model before forking, or start the process anew (spawn)"
        )
    if _has_inherited_tokenizers and os.environ.get(_PARALLELISM, "").lower() not in _NO:
        # Where nothing is set, tokenizers sees the fork itself. Told to use threads, it waits for those of the parent.
        os.environ[_PARALLELISM] = "false"


def _after_fork_in_child() -> None:
    global _gate, _has_inherited_tokenizers, _half_imported  # noqa: PLW0603 - facts of the process
    _gate = threading.RLock()
    _holding.clear()
    for thing in list(_live):
        thing._inherited()  # noqa: SLF001 - private to all others
    _pinned.clear()
    _has_inherited_tokenizers = "tokenizers" in sys.modules
    _half_imported = tuple(sorted(name for name in _being_imported() if name.partition(".")[0] in _LIBRARIES))


def _being_imported() -> Iterator[str]:
    """Yield the modules that threads of the parent were importing: nobody completes them, or gives their locks back.

    How importlib keeps account of that is its own affair; a release that does it otherwise leaves the deadline.
    """
    locks: dict[str, Any] = dict(getattr(importlib._bootstrap, "_module_locks", {}))  # noqa: SLF001
    this_thread = threading.get_ident()
    for name, reference in locks.items():
        owner = getattr(reference(), "owner", None)
        if owner is not None and owner != this_thread:
            yield name


# Hooks before a fork run in reverse. Those of logging and concurrent.futures take locks that a thread may need while it
# makes a model; these are imported above, so that their hooks are registered before, and run after ours.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
