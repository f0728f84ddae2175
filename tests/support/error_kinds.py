"""The classes of errors that a package or module defines."""

from __future__ import annotations


def error_kinds(base: type[Exception], where: str) -> list[type[Exception]]:
    """Return the classes below ``base`` that a package or module defines, in the order of their names."""
    found: set[type[Exception]] = set()
    pending = [base]
    while pending:
        below = [kind for kind in pending.pop().__subclasses__() if kind not in found]
        found.update(below)
        pending += below
    return sorted(
        (kind for kind in found if f"{kind.__module__}.".startswith(f"{where}.")), key=lambda kind: kind.__name__
    )
