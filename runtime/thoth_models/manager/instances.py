"""One object per process and key."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar, final

from thoth_models.process.fork import ForkAware, at_fork

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class Instances(ForkAware, Generic[K, V]):
    """Objects by key, each created once, however many threads ask. A child of ``fork`` keeps them.

    Args:
        make: Creates the object for a key.
        is_usable: Whether an object is still usable; one that is not is replaced.
    """

    def __init__(self, make: Callable[[K], V], is_usable: Callable[[V], bool]) -> None:
        self._make = make
        self._is_usable = is_usable
        self._made: dict[K, V] = {}
        self._lock = threading.RLock()  # reentrant: a signal handler may call this while its own thread does
        at_fork(self)

    def get(self, key: K) -> V:
        """Return the object for ``key``."""
        with self._lock:
            made = self._made.get(key)
            if made is not None and not self._is_usable(made):
                self._made.pop(key, None)
                made = None
            if made is None:
                # A signal handler may have created one while this thread did.
                made = self._made.setdefault(key, self._make(key))
            return made

    def after_fork_in_child(self) -> None:
        """Create a new lock, because a thread of the parent may hold the old one."""
        self._lock = threading.RLock()
