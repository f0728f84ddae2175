"""Objects that are copied as themselves and pickled as a reference, because what they hold cannot be copied.

An unpickled object is loaded at its first use, not when it is unpickled. An error while a task is unpickled ends the
worker of a ``ProcessPoolExecutor`` without its message, and a ``multiprocessing.Pool`` waits for ever. At the first
use, it is the error of the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import Self


class Reference(Protocol):
    """What a pickled object consists of; ``str`` names the object."""

    def load(self) -> object:
        """Return the object, loaded in this process."""
        ...


class SharedObject:
    """An object of which a process needs one: copying it returns the same object."""

    def __copy__(self) -> Self:
        """Return the same object."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the same object."""
        return self


class LoadedOnUse(SharedObject):
    """An object that an unpickled one becomes at its first use.

    A subclass names the attributes that hold what is loaded, and returns :func:`unpickled` and a reference from
    ``__reduce__``.
    """

    _loaded_attributes: ClassVar[tuple[str, ...]] = ()
    _reference: Reference | None = None

    @property
    def _is_loaded(self) -> bool:
        return all(name in vars(self) for name in self._loaded_attributes)

    if not TYPE_CHECKING:  # a type checker would accept every attribute

        def __getattr__(self, name: str) -> object:
            """Load the object when one of its attributes is missing, which calls this method."""
            if name not in self._loaded_attributes or self._reference is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            # Several threads may get here at once. They all set equal values.
            try:
                loaded = vars(self._reference.load())
            except AttributeError as error:
                # Python would call this method again for the property that was asked for, and say that it has none.
                raise RuntimeError(f"{self._reference}: expected to be loaded, found {error!r}") from error
            vars(self).update({attribute: loaded[attribute] for attribute in self._loaded_attributes})
            return vars(self)[name]


T = TypeVar("T", bound=LoadedOnUse)


def unpickled(kind: type[T], reference: Reference) -> T:
    """Return an object that is loaded from ``reference`` at its first use."""
    made = kind.__new__(kind)
    made._reference = reference  # noqa: SLF001 - instead of the constructor
    return made
