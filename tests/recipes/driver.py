"""Runs the code of a recipe as a program, in a process of its own, and then a check over the names that it leaves.

``python -m tests.recipes.driver recipe.py tests.recipes.test_NAME check``
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def main(file: str, module: str, function: str) -> None:
    # As the main module: so children that multiprocessing spawns find the recipe's functions, as they do for a reader.
    recipe = ModuleType("__main__")
    recipe.__file__ = str(Path(file).resolve())
    sys.modules["__main__"] = recipe
    sys.path.insert(0, str(Path(file).resolve().parent))
    exec(compile(Path(file).read_text(encoding="utf-8"), recipe.__file__, "exec"), recipe.__dict__)  # noqa: S102
    getattr(importlib.import_module(module), function)(recipe.__dict__)
    sys.stdout.write("checked\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
