"""One thing per process and setting."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar, final

from thoth_models.forking import at_fork

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class Instances(Generic[K, V]):
    """Things by what they are made with, each made once, however many threads ask. A child of ``fork`` keeps them.

    Args:
        make: Makes one.
        is_usable: Whether one still is; another one takes the place of one that is not.
    """

    def __init__(self, make: Callable[[K], V], is_usable: Callable[[V], bool]) -> None:
        self._make = make
        self._is_usable = is_usable
        self._made: dict[K, V] = {}
        self._lock = threading.RLock()  # a signal handler may ask while its own thread does
        at_fork(self)

    def get(self, key: K) -> V:
        """Return the thing for ``key``."""
        with self._lock:
            made = self._made.get(key)
            if made is not None and not self._is_usable(made):
                self._made.pop(key, None)
                made = None
            if made is None:
                # A signal handler may have made one while this thread did.
                made = self._made.setdefault(key, self._make(key))
            return made

    def _inherited(self) -> None:
        self._lock = threading.RLock()  # a thread of the parent may have held the other
