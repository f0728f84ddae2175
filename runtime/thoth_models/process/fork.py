"""Loaded models in a child of ``fork``: gunicorn ``--preload``, Celery, ``multiprocessing``.

A child has a copy of its parent's memory, and only one thread. The state of the parent's other threads is frozen: locks
that they held stay locked, and thread pools have no threads. Calling an inherited model hangs, and even destroying it
at the end of the child may hang, because an onnxruntime session waits for its threads to finish. So a child neither
uses nor destroys an inherited model. It loads the model again at the first call, from the same bundle and with the same
verification, and leaves the inherited one untouched. The pages of the weights are shared, so this costs little more
than hashing them.

Libraries also have process-wide locks, which they hold while a model is created: a child that was forked in that moment
could never create one. And a child that was forked while another thread collected garbage never collects garbage
itself. So a fork waits until such a moment has passed.

Objects that only the parent's other threads refer to, in a ``threading.local`` or in an exception that they handle, are
destroyed by the interpreter in the child before it calls any hook. So every model gets an extra reference before the
fork, until the child has put the model away.
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
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from thoth_models.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator


_LIBRARIES = (
    *("thoth_models", "numpy", "onnxruntime", "tokenizers"),
    *("torch", "transformers", "sentence_transformers", "huggingface_hub", "safetensors"),
)
_PARALLELISM = "TOKENIZERS_PARALLELISM"
"""Whether `tokenizers` uses threads; it reads the variable at each call."""

_PATIENCE = 1.0
"""How long a fork waits for the end of a garbage collection, in seconds."""

_STEP = 0.001
"""Poll interval of a waiting fork, in seconds."""

_NO = ("", "0", "f", "false", "n", "no", "off")
"""The values that `tokenizers` reads as false."""


class ForkAware(ABC):
    """An object with locks, threads or native state, which a child of ``fork`` has to reset before it is used."""

    @abstractmethod
    def after_fork_in_child(self) -> None:
        """Reset state in a forked child; called before anything else, in the child's only thread."""


def at_fork(thing: ForkAware) -> None:
    """Register ``thing`` so that each child of ``fork`` calls its ``after_fork_in_child()``, as long as it lives.

    Call this at the end of a constructor, when all attributes exist.
    """
    # Now, not in the child, where its import lock may be locked for ever.
    importlib.import_module("ctypes")
    _live.add(thing)


def never_destroy(*things: object) -> None:
    """Keep objects of the parent process alive until this process ends."""
    import ctypes  # noqa: PLC0415 - takes milliseconds; at_fork has imported it

    for thing in things:
        # A leaked reference: an ordinary one, in a module, would be destroyed at the end of the interpreter.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@contextlib.contextmanager
def no_fork(seconds: float) -> Iterator[None]:
    """Delay forks of other threads while a library may hold a process-wide lock.

    Args:
        seconds: Maximum delay, so that a library that hangs does not keep the process from forking.
    """
    me = threading.get_ident()
    with _gate:
        _holding[me] = time.monotonic() + seconds
    try:
        yield
    finally:
        _holding.pop(me, None)


_gate = threading.RLock()  # reentrant: a signal handler may fork while its thread waits to fork
_holding: dict[int, float] = {}  # until when, by thread
_pinned: list[list[object]] = []  # one entry per fork in progress: a signal handler may start another one


def _before_fork() -> None:
    """Wait until no thread delays forks, and keep further ones from doing so until the fork is done.

    If a signal handler raises meanwhile, its exception is lost, because the interpreter ignores exceptions of such
    hooks.
    """
    _gate.acquire()  # other threads hold it only for one step
    pins: list[object] = []
    _pinned.append(pins)
    me = threading.get_ident()
    while any(thread != me and time.monotonic() < end for thread, end in list(_holding.items())):
        time.sleep(_STEP)
    _end_of_collection()
    pins += _live


def _end_of_collection() -> None:
    """Wait until no other thread collects garbage: in a child, that collection would never end and block others."""
    if not gc.isenabled():
        return  # the application disabled garbage collection
    me, begun = threading.get_ident(), []

    def note(phase: str, _info: dict[str, int]) -> None:
        if threading.get_ident() == me:
            begun.append(phase)

    gc.callbacks.append(note)
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            gc.collect(0)
            # While a collection runs, gc.collect() returns without a collection, and without calling the callback.
            if begun or time.monotonic() >= end:
                break
            time.sleep(_STEP)
    finally:
        gc.callbacks.remove(note)


def _after_fork_in_parent() -> None:
    pins = _pinned.pop() if _pinned else None
    _gate.release()
    del pins  # only now, because destroying them may take long


_live: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_has_inherited_tokenizers = False
_half_imported: tuple[str, ...] = ()


def prepare_load() -> None:
    """Check that this process can load models after a fork; call it before importing a library.

    Raises:
        BackendError: Another thread of the parent was importing a library at the fork, so the child can never use it.
    """
    if _half_imported:
        raise BackendError(
            f"this process was forked while another thread of its parent was importing {', '.join(_half_imported)}, "
            "and the child cannot finish that import; load the model before forking, or use the start method spawn"
        )
    if _has_inherited_tokenizers and os.environ.get(_PARALLELISM, "").lower() not in _NO:
        # If the variable is not set, tokenizers detects the fork. If it is true, tokenizers waits for the parent's
        # threads.
        os.environ[_PARALLELISM] = "false"


def _after_fork_in_child() -> None:
    global _gate, _has_inherited_tokenizers, _half_imported  # noqa: PLW0603 - state of the process
    _gate = threading.RLock()
    _holding.clear()
    for thing in list(_live):
        thing.after_fork_in_child()
    _pinned.clear()
    _has_inherited_tokenizers = "tokenizers" in sys.modules
    _half_imported = tuple(sorted(name for name in _being_imported() if name.partition(".")[0] in _LIBRARIES))


def _being_imported() -> Iterator[str]:
    """Yield the modules that threads of the parent were importing; they stay incomplete, with their locks locked.

    This reads a private attribute of importlib. If a release of Python changes it, the deadline still ends the load.
    """
    locks: dict[str, Any] = dict(getattr(importlib._bootstrap, "_module_locks", {}))  # noqa: SLF001
    this_thread = threading.get_ident()
    for name, reference in locks.items():
        owner = getattr(reference(), "owner", None)
        if owner is not None and owner != this_thread:
            yield name


# Hooks before a fork run in reverse order. Those of logging and concurrent.futures take locks that a thread may need to
# create a model. Both are imported above, so that their hooks are registered before ours, and run after it.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
