"""What the process may use of the machine it runs on."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

from thoth_models.cgroups import ROOT, cpu_quota, memory_limit
from thoth_models.errors import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path

THREADS_VARIABLE = "THOTH_MODELS_THREADS"
"""Says how many threads a model computes with, where that should not be the number of usable cores."""

MEMORY_VARIABLE = "THOTH_MODELS_MEMORY"
"""Says how much memory loaded models may take together: bytes, or a number with k, m or g as engines read it."""

_SHARE = 0.6
"""Of the memory that there is, for models. The rest is for the interpreter, for what a batch needs, and the service."""

_MOST_THREADS = 1024  # a typing error, rather than a machine, beyond that
_NUMBER = re.compile(r"[0-9]{1,9}")
_SIZE = re.compile(r"([0-9]{1,15})([kmg]?)b?", re.IGNORECASE)


def available_cores() -> int:
    """Return the number of cores that the system may put this process on, whatever its quota of their time is."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def usable_cores(root: Path = ROOT) -> int:
    """Return how many cores this process can keep busy, at least 1: no more than its CPU quota, rounded up.

    More threads than that use the quota up early in each period, and then all of them stand still for the rest of it:
    calls take longer, on a host of many cores many times as long. The quota is read at each call: an orchestrator may
    change it while the process runs.
    """
    quota = cpu_quota(root)
    cores = available_cores()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def threads(root: Path = ROOT) -> int:
    """Return how many threads a model computes with: ``THOTH_MODELS_THREADS`` if set, else :func:`usable_cores`.

    The variable is read at each call; an empty one counts as not set.

    Raises:
        EnvironmentFault: The variable is not an integer from 1 to 1024.
    """
    return stated_threads() or usable_cores(root)


def stated_threads() -> int | None:
    """Return the number that ``THOTH_MODELS_THREADS`` says, or None where it says nothing.

    Raises:
        EnvironmentFault: The variable is not an integer from 1 to 1024.
    """
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return None
    count = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= count <= _MOST_THREADS:
        raise EnvironmentFault(f"{THREADS_VARIABLE}: expected an integer from 1 to {_MOST_THREADS}, found {text!r}")
    return count


def available_memory(root: Path = ROOT) -> int | None:
    """Return how many bytes of memory there are for this process: what its container may take, or the machine has."""
    limits = [limit for limit in (memory_limit(root), _physical_memory()) if limit is not None]
    return min(limits, default=None)


def memory_budget(root: Path = ROOT) -> int | None:
    """Return how many bytes loaded models may take together: ``THOTH_MODELS_MEMORY`` if set, else 0.6 of what there is.

    Raises:
        EnvironmentFault: The variable is no size.
    """
    text = os.environ.get(MEMORY_VARIABLE, "").strip()
    if text:
        match = _SIZE.fullmatch(text)
        if match is None or int(match[1]) == 0:
            raise EnvironmentFault(
                f"{MEMORY_VARIABLE}: expected a number of bytes, or one with k, m or g such as 512m, found {text!r}"
            )
        return int(match[1]) << 10 * " kmg".index(match[2].lower() or " ")
    available = available_memory(root)
    return None if available is None else int(available * _SHARE)


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
