"""What the figures were measured on: the machine, and the versions of everything that took part."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from bench.processes import run
from bench.processors import INSTRUCTIONS
from thoth_models.process.environment import usable_cores

_DISTRIBUTIONS = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name']}))"
)


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, kernel and Python of this machine."""
    processors = _fields(Path("/proc/cpuinfo"))
    flags = processors.get("flags", "").split()
    return {
        "processor": processors.get("model name", platform.machine()),
        "instructions": [flag for flag in INSTRUCTIONS if flag in flags],
        "cores": usable_cores(),
        "memory_bytes": int(_fields(Path("/proc/meminfo"))["MemTotal"].split()[0]) * 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def read_versions(python: Path) -> dict[str, str]:
    """Return the version of every distribution that is installed for an interpreter, by name."""
    found: dict[str, str] = json.loads(run([python, "-c", _DISTRIBUTIONS], timeout=60).stdout)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _fields(path: Path) -> dict[str, str]:
    """Return the first ``name: value`` of each name in a file of /proc."""
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields
