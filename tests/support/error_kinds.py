"""The classes of errors that a package defines."""

from __future__ import annotations


def error_kinds(base: type[Exception], package: str) -> list[type[Exception]]:
    """Return the classes below ``base`` that a package defines, in the order of their names."""
    found: set[type[Exception]] = set()
    pending = [base]
    while pending:
        below = [kind for kind in pending.pop().__subclasses__() if kind not in found]
        found.update(below)
        pending += below
    return sorted(
        (kind for kind in found if kind.__module__.partition(".")[0] == package), key=lambda kind: kind.__name__
    )
