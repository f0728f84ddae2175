"""The classes of errors that a package or module defines."""

from __future__ import annotations

import contextlib


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


def made(kind: type[Exception]) -> Exception:
    """Return an error of a class, whatever its constructor takes."""
    for arguments in (("x",), ("x", ())):  # a message, or a place and what is wrong there
        with contextlib.suppress(TypeError):
            return kind(*arguments)
    error = kind.__new__(kind)
    assert isinstance(error, Exception)
    return error
