# ruff: noqa: INP001 - a script that the Dockerfile runs, not part of a package
"""Add bytecode for the modules that are imported at start, and set all times to 0, in the tree that pip staged.

A container has a read-only root, where Python cannot write bytecode: without this, every start would compile each
module that it imports. Only modules that a start imports are compiled; bytecode for all of them would be 30 MB more.

Python checks bytecode by time and size of the source, as usual, so a module that is replaced in a later layer is
compiled again. All times are 0, so that every build gives the same bytes.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import py_compile
import sys
import sysconfig
from pathlib import Path

PACKAGE = "thoth_models"


def settle(staged: Path) -> tuple[int, int]:
    """Process the tree of ``pip install --root staged``; return how many modules were compiled, and their bytes."""
    sys.dont_write_bytecode = True
    sys.path[:0] = [f"{staged}{sysconfig.get_path(name)}" for name in ("purelib", "platlib")]
    _set_times(staged)
    _import_what_a_start_imports()
    sources = {source for name in list(sys.modules) if (source := _source_of(name)) is not None}
    compiled = [path for source in sorted(sources) if (path := _compile(source, staged)) is not None]
    _set_times(staged)
    return len(compiled), sum(path.stat().st_size for path in compiled)


def _import_what_a_start_imports() -> None:
    package = importlib.import_module(PACKAGE)
    # The libraries of backends come below, and the frameworks of adapters are no part of the image.
    others = (f"{PACKAGE}.backends.", f"{PACKAGE}.adapters.")
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not found.name.startswith(others) and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    # The same call that a load makes; a backend whose libraries are not part of this image says nothing.
    for backend in ("onnx", "torch"):
        importlib.import_module(f"{PACKAGE}.backends").import_libraries(backend)


def _source_of(name: str) -> str | None:
    """Return the source file of a module; None if it is not a Python file."""
    specification = getattr(sys.modules[name], "__spec__", None)
    parent = sys.modules.get(name.rpartition(".")[0])
    if specification is not None and specification.name != name and parent is not None and hasattr(parent, "__path__"):
        # It has put another one in its place, as collections.abc does; its own file was read all the same.
        specification = importlib.machinery.PathFinder.find_spec(name, parent.__path__)
    source = getattr(specification, "origin", None)
    return source if isinstance(source, str) and source.endswith(".py") else None


def _compile(source: str, staged: Path) -> Path | None:
    """Compile a source into the staged tree, unless it has bytecode in place."""
    final = source.removeprefix(str(staged))
    if source == final and Path(importlib.util.cache_from_source(source)).exists():
        return None  # of the standard library, and compiled there
    cached = Path(f"{staged}{importlib.util.cache_from_source(final)}")
    py_compile.compile(
        source,
        cfile=str(cached),
        dfile=final,
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP,
    )
    return cached


def _set_times(staged: Path) -> None:
    for directory, _, files in os.walk(staged):
        for path in (directory, *(os.path.join(directory, name) for name in files)):  # noqa: PTH118 - of 10,000 files
            os.utime(path, (0, 0), follow_symlinks=False)


if __name__ == "__main__":
    count, size = settle(Path(sys.argv[1]).resolve())
    print(f"{count} modules compiled, {size:,} bytes")  # noqa: T201 - for the log of the build
