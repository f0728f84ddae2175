"""Work that does what a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.process.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 30.0
"""How long anything may take; beyond that it hangs."""


class Making(Task[str]):
    """Work as a test wants it."""

    def __init__(self, do: Callable[[], str]) -> None:
        super().__init__("making", SECONDS)
        self._do = do

    def do(self) -> str:
        return self._do()
