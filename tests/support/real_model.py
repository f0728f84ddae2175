"""The real model `mini`, from the committed list and lock: built once in a run, for all tests that need it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.bundles import make_removable
from tests.support.projects import REPOSITORY, run_builder

if TYPE_CHECKING:
    from collections.abc import Iterator

BUNDLE_VARIABLE = "THOTH_TEST_BUNDLE"
"""Where a bundle with `mini` lies, in all of its variants; if it is not set, one is built."""

STORE_VARIABLE = "THOTH_TEST_STORE"
"""The builder's store to build it with, or to take what was compiled from; if it is not set, a new one."""

_BUILD_SECONDS = 1200.0


@contextmanager
def mini_bundle_at(place: Path) -> Iterator[Path]:
    """Return the bundle that the variable names, or build one below ``place``, which goes in the end."""
    if given := os.environ.get(BUNDLE_VARIABLE):
        yield Path(given)
        return
    store = os.environ.get(STORE_VARIABLE) or str(place / "store")
    places = [f"--file={REPOSITORY / 'models.yaml'}", f"--store={store}", f"--output={place / 'bundle'}"]
    built = run_builder("build", *places, "--model=mini", "--strict", timeout=_BUILD_SECONDS)
    assert built.returncode == 0, built.stderr
    yield place / "bundle"
    make_removable(place / "bundle")
    shutil.rmtree(place)
