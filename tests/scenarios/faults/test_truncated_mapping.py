"""A file of a bundle that gets shorter under a process that has mapped it: docs/bundle.md says what happens then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_bundle, make_writable, opened
from tests.support.onnx_models import plan, variant_files
from tests.support.projects import REPOSITORY, environment_of_children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.hostile, pytest.mark.onnx]

SECONDS = 60
SERVICE = """
import sys, thoth_models
embedding = thoth_models.load_embedding("mini", root=sys.argv[1])
for line in sys.stdin:
    print(embedding.encode([line.strip()])[0].tobytes().hex(), flush=True)
"""
WEIGHTS = "mini/onnx-fp32/model.onnx.data"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [plan(variant_files(tmp_path / "files"))], default="mini")
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def vectors_around(root: Path, change: Callable[[Path], None]) -> tuple[str, str, int]:
    """Return a vector before and after a change of the weights, and how the process ended."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment_of_children(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("water\n")
        process.stdin.flush()
        before = process.stdout.readline()
        with opened(root):
            change(root / WEIGHTS)
        after, _ = process.communicate("water\n", timeout=SECONDS)
    return before, after, process.returncode


def replace(path: Path) -> None:
    """Put a shorter file in the place of another, as builders and orchestrators do."""
    path.with_name("new").write_bytes(b"")
    path.with_name("new").replace(path)


def test_a_file_that_is_cut_short_in_place_ends_the_process_and_gives_no_vector(root: Path) -> None:
    before, after, code = vectors_around(root, lambda path: os.truncate(path, 0))
    assert before
    assert (after, code) == ("", -signal.SIGBUS)
    page = (REPOSITORY / "docs/bundle.md").read_text(encoding="utf-8")
    assert "if the file gets shorter, the process ends with SIGBUS" in " ".join(page.split())


def test_a_file_that_is_replaced_changes_nothing(root: Path) -> None:
    before, after, code = vectors_around(root, replace)
    assert before
    assert (after, code) == (before, 0)


def test_a_bundle_that_was_cut_short_does_not_load_again(root: Path) -> None:
    with opened(root):
        os.truncate(root / WEIGHTS, 0)
    finished = subprocess.run(
        [sys.executable, "-m", "thoth_models", "embed", "--root", str(root), "--text", "water"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment_of_children(),
    )
    assert (finished.returncode, finished.stdout) == (4, "")
    assert f"{WEIGHTS}: changed: expected" in finished.stderr
    assert "found 0 bytes" in finished.stderr
