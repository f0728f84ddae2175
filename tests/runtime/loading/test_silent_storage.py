"""A bundle on a storage that stops answering: the deadline is kept, and everything else goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import Sparse, invented_model, make_bundle, make_writable
from tests.support.silent_storage import mounted, why_not

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

WEIGHTS = "source/weights.bin"

# A thread beside it counts: an interpreter that stands still could keep no deadline, nor serve a health check.
_LOAD = """
import json, os, sys, threading, time
import numpy as np
from thoth_models import LoadTimeout, load_embedding
from thoth_models import backends

class Fake:
    def encode(self, texts, *, prompt, batch_size, show_progress_bar):
        return np.ones((len(texts), 8), np.float32)

backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: lambda verified: Fake()))
turns = 0
def count():
    global turns
    while True:
        time.sleep(0.01)
        turns += 1
threading.Thread(target=count, daemon=True).start()
started = time.monotonic()
try:
    found = load_embedding("mini", root=sys.argv[1], timeout=1.5).encode("a").shape
except LoadTimeout as error:
    found = str(error).splitlines()[0]
print(json.dumps([found, turns, time.monotonic() - started]))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    source = tmp_path / "storage"
    # Larger than a part that is hashed at once, so that it is read in several.
    make_bundle(source, [invented_model("mini", more={"weights.bin": Sparse(size=70 * 2**20)})], default="mini")
    yield source
    make_writable(source)


@pytest.mark.hostile
@pytest.mark.parametrize("file", [WEIGHTS, "modules.json", "manifest.json"])
def test_a_file_that_never_answers_ends_at_the_deadline(
    storage: Path, tmp_path: Path, run_python: Run, file: str
) -> None:
    with mounted(storage, tmp_path / "mounted", silent=file) as root:
        done = run_python("-c", _LOAD, str(root))
    assert done.returncode == 0, done.stderr
    found, turns, seconds = json.loads(done.stdout)
    assert "did not finish within 1.5 s; it was verifying" in found
    assert seconds < 10
    assert turns > 20, "no other thread could do anything meanwhile"


VERIFY = """
import sys
from thoth_models import LoadTimeout, verify
try:
    verify(sys.argv[1], timeout=1.5)
except LoadTimeout as error:
    sys.exit(str(error))
"""
COMMANDS = {
    "verify": ["-m", "thoth_models", "verify", "--timeout", "1.5", "--root"],
    "the function": ["-c", VERIFY],
}


@pytest.mark.hostile
@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_verification_ends_at_its_deadline(storage: Path, tmp_path: Path, run_python: Run, command: list[str]) -> None:
    with mounted(storage, tmp_path / "mounted", silent="manifest.json") as root:
        done = run_python(*command, str(root))
    assert done.returncode != 0
    assert f"{root} did not finish within 1.5 s; it was " in done.stderr.replace("\n", " ")


@pytest.mark.parametrize("direct", [False, True])
def test_one_that_answers_is_loaded_from(storage: Path, tmp_path: Path, run_python: Run, *, direct: bool) -> None:
    """The positive control; and pages that are not kept, as on mounts of object stores, do as well."""
    with mounted(storage, tmp_path / "mounted", direct=direct) as root:
        assert (root / "mini" / WEIGHTS).stat().st_size == 70 * 2**20
        done = run_python("-c", _LOAD.replace("timeout=1.5", "timeout=60"), str(root))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == [8]
