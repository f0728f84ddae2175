"""What every gate ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WITHIN, BEYOND, UNMEASURED = 0, 1, 4
"""Exit codes; 2 is argparse's own, for wrong usage. docs/gates.md has their meaning."""


class UnmeasuredError(Exception):
    """Something could not be measured; the message says what was expected, and what was found."""


@dataclass(frozen=True)
class Verdict:
    """The exit code, why, and the figures behind it."""

    code: int
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The exit code as a word."""
        return {WITHIN: "within", BEYOND: "beyond", UNMEASURED: "not measured"}[self.code]


def both(first: Verdict, second: Verdict) -> Verdict:
    """Return one verdict of two: beyond before unmeasured before within."""
    codes = {first.code, second.code}
    code = next(code for code in (BEYOND, UNMEASURED, WITHIN) if code in codes)
    return Verdict(code, f"{first.reason}; {second.reason}", {**first.figures, **second.figures})
