"""What the tests of the guides need: the real bundle, from the committed list and lock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builder.projects import run_builder, specification
from tests.bundles import make_writable

if TYPE_CHECKING:
    from collections.abc import Iterator

collect_ignore = ["replica_before"]
"""Services with tests of their own, which run in copies."""

_ROOT = Path(__file__).parents[2]
_MODEL = "mini"


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle with the real model, by its aliases; ``THOTH_TEST_BUNDLE`` names one that is there already."""
    if given := os.environ.get("THOTH_TEST_BUNDLE"):
        yield Path(given)
        return
    place = tmp_path_factory.mktemp("mini")
    entry = json.loads((_ROOT / "models.lock").read_bytes())["models"][_MODEL]
    (place / "models.lock").write_text(json.dumps({"version": 1, "models": {_MODEL: entry}}), encoding="utf-8")
    facts = {"sources": entry["sources"], "variants": ["onnx-fp32", "onnx-int8", "torch-fp32"], "golden": True}
    facts["aliases"] = ["legacy", "all-MiniLM-L6-v2"]
    (place / "models.yaml").write_text(specification({_MODEL: facts}), encoding="utf-8")
    store = os.environ.get("THOTH_TEST_STORE") or place / "store"
    options = [f"--file={place / 'models.yaml'}", f"--store={store}", f"--output={place / 'bundle'}", "--strict"]
    built = run_builder("build", *options, timeout=1200)
    assert built.returncode == 0, built.stderr
    yield place / "bundle"
    make_writable(place / "bundle")
