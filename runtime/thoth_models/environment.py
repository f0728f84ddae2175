"""What the process may use of the machine it runs on."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

from thoth_models.cgroups import ROOT, cpu_quota
from thoth_models.errors import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path

THREADS_VARIABLE = "THOTH_MODELS_THREADS"
"""Says how many threads a model computes with, where that should not be the number of usable cores."""

_MOST_THREADS = 1024  # a typing error, rather than a machine, beyond that
_NUMBER = re.compile(r"[0-9]{1,9}")


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
