"""A model of more than a gigabyte passes through every command in little memory.

The benchmarks measure it with one of 4 GiB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import Project, environment_of_children, model_files, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.big

SIZE = int(os.environ.get("THOTH_TEST_LARGE_BYTES") or 5 * 2**28)
MEMORY = 200 * 1000 * 1000
"""Bytes that the builder may take above its idle, whatever the size of a file: the budget of the design."""

# The peak of this very process: getrusage() also counts what its parent had in memory when it forked.
_WITH_PEAK = """
import sys
from thoth_models_builder.cli.main import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(peak.split()[1], file=sys.stderr)
sys.exit(code)
"""


def peak_of(*arguments: str) -> tuple[int, str]:
    """Run a command, and return the most memory that it had in bytes, and what it printed."""
    finished = subprocess.run(
        [sys.executable, "-c", _WITH_PEAK, *arguments],
        env=environment_of_children(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return int(finished.stderr.splitlines()[-1]) * 1024, finished.stdout


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Project]:
    free = shutil.disk_usage(tmp_path).free
    # The model itself is sparse; the store has a real copy of it, which the bundle links to.
    assert free > 1.2 * SIZE, f"expected {1.2 * SIZE:.0f} bytes of free disk at {tmp_path}, found {free}"
    project = Project(tmp_path / "project")
    files = model_files("large")
    weights = files.pop("model.safetensors")
    write_files(project.root / "model", files)
    with (project.root / "model" / "model.safetensors").open("wb") as file:
        file.write(weights)
        file.truncate(SIZE)
    project.specify({"large": {"sources": [{"directory": "model"}]}})
    yield project
    make_writable(project.root)
    shutil.rmtree(project.root)


def test_a_large_file_passes_through_lock_build_and_verify(large: Project) -> None:
    idle, _ = peak_of("schema")
    peaks = {}
    peaks["lock"], _ = peak_of(*large.arguments("lock"))
    peaks["build"], out = peak_of(*large.arguments("build", "--json", "--link"))
    (model,) = json.loads(out)["models"]
    assert SIZE in [file["size"] for file in model["files"]]
    peaks["build with nothing to do"], out = peak_of(*large.arguments("build", "--json"))
    assert json.loads(out)["is_unchanged"] is True
    peaks["verify"], _ = peak_of("verify", str(large.output))
    above = {command: peak - idle for command, peak in peaks.items()}
    assert all(most < MEMORY for most in above.values()), above
    weights = large.output / "large/source/model.safetensors"
    assert weights.stat().st_nlink > 1, "the bytes are on the disk twice"
