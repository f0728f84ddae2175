"""What the process may use of the machine it runs on."""

from __future__ import annotations

import os
import re

from thoth_models.errors import EnvironmentFault

THREADS_VARIABLE = "THOTH_MODELS_THREADS"
"""Says how many threads a model computes with, where that should not be the number of usable cores."""

_MOST_THREADS = 1024  # a typing error, rather than a machine, beyond that
_NUMBER = re.compile(r"[0-9]{1,9}")


def usable_cores() -> int:
    """Return the number of cores that this process may run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def threads() -> int:
    """Return how many threads a model computes with: ``THOTH_MODELS_THREADS`` if set, else :func:`usable_cores`.

    The variable is read at each call; an empty one counts as not set.

    Raises:
        EnvironmentFault: The variable is not an integer from 1 to 1024.
    """
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return usable_cores()
    count = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= count <= _MOST_THREADS:
        raise EnvironmentFault(f"{THREADS_VARIABLE}: expected an integer from 1 to {_MOST_THREADS}, found {text!r}")
    return count
