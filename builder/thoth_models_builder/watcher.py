"""Interfaces that receive the progress of long work; the command line draws it on a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager


class Watcher(Protocol):
    """Receives the progress of work that takes time."""

    def transfer(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a transfer of ``total`` bytes; call the yielded function with the number of bytes that arrived."""
        ...

    def note(self, message: str) -> None:
        """Show a line to the user."""
        ...


class CompileProgress(Protocol):
    """Receives the steps of compiling models, which run side by side."""

    def begin(self, model: str, steps: Sequence[str]) -> None:
        """Announce the steps of a model, in their usual order."""
        ...

    def begin_step(self, model: str, step: str) -> None:
        """Report that a step begins."""
        ...

    def end_step(self, model: str, step: str, seconds: float) -> None:
        """Report that a step is done, and how long it took."""
        ...

    def end(self, model: str) -> None:
        """Report that the last step of a model has ended."""
        ...


class BuildWatcher(Watcher, Protocol):
    """Receives the progress of a build, which may compile models."""

    def compiling(self) -> AbstractContextManager[CompileProgress]:
        """Begin to compile models; the yielded object receives the progress of each step."""
        ...
