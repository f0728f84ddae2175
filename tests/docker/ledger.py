"""The table of the hangs. Importable without an engine: the process that prints it runs no test itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HANG, FIGURE = "hang", "figure"
"""Properties of a test: a row of the table, and a line."""


class Ledger:
    """What the tests found, for the table at the end.

    Args:
        keep: Also called with each row.
    """

    def __init__(self, keep: Callable[[Sequence[str]], None] | None = None) -> None:
        self.rows: list[tuple[str, ...]] = []
        self._keep = keep

    def add(self, *cells: object) -> None:
        row = tuple(map(str, cells))
        self.rows.append(row)
        if self._keep is not None:
            self._keep(row)

    def lines(self) -> list[str]:
        """Return the table, in the order of the rows of HANGS."""
        head = ("row", "test", "control", "connections", "ours", "outcome", "connections")
        rows = [head, *sorted(self.rows, key=lambda row: (int(row[0]) if row[0].isdigit() else 99, row))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
