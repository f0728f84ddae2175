"""Loading and encoding write no file and start no process: rows 8, 9 and 17 of the table of hangs, without containers.

Twice over, because neither sees all: an audit hook, which files that a library's native code opens do not raise, and
what lies in the directories afterwards, among which a file that was removed again is not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_bundle, make_writable
from tests.support.onnx_models import plan, variant_files

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

_SCRIPT = """
import json, os, sys
from thoth_models import load_embedding

root, imported = sys.argv[1], sys.argv[2].split()
for name in imported:
    __import__(name)  # what a library does while it is imported is its own affair
found = []
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.utime",
    "tempfile.mkstemp", "tempfile.mkdtemp"}
PROCESSES = {"os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "subprocess.Popen"}

def hook(event, arguments):
    if event in PROCESSES or event in CHANGES:
        found.append(f"{event} {arguments!r:.200}")
    elif event == "open" and arguments[2] & WRITES and arguments[0] != os.devnull:
        found.append(f"open {arguments!r:.200}")

sys.addaudithook(hook)
if "control" in sys.argv:
    import subprocess
    open(os.path.join(os.environ["HOME"], "cache"), "w").close()
    subprocess.run([sys.executable, "--version"], stdout=subprocess.DEVNULL)
embedding = load_embedding("mini", root=root)
for texts in (["water"], ["water river " * 20, "", "a b c"] * 500):
    assert embedding.encode(texts).shape == (len(texts), embedding.dimension)
print(json.dumps(found))
"""


def _content(place: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in place.rglob("*")}


def _run(run_python: Run, root: Path, place: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """Return what the audit hook saw, and the files that are there afterwards and were not before."""
    places = {
        name: place / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME", "work")
    }
    for directory in places.values():
        directory.mkdir(parents=True)
    environment = {name: str(directory) for name, directory in places.items()}
    before = _content(root)
    done = run_python(*("-B", "-c", _SCRIPT, str(root), *arguments), environment=environment, directory=places["work"])
    assert done.returncode == 0, done.stderr
    assert _content(root) == before
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found, sorted(str(path.relative_to(place)) for path in place.rglob("*") if path not in places.values())


@pytest.mark.onnx
def test_the_onnx_backend(run_python: Run, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", [plan(variant_files(tmp_path / "files"))], default="mini")
    assert _run(run_python, tmp_path / "bundle", tmp_path / "places", "") == ([], [])
    make_writable(tmp_path / "bundle")


@pytest.mark.torch
def test_the_torch_backend(run_python: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    assert _run(run_python, tiny_bundle, tmp_path / "places", "sentence_transformers") == ([], [])


@pytest.mark.onnx
def test_control_what_is_written_and_started_is_seen(run_python: Run, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", [plan(variant_files(tmp_path / "files"))], default="mini")
    seen, left = _run(run_python, tmp_path / "bundle", tmp_path / "places", "", "control")
    assert [event.partition(" ")[0] for event in seen][:2] == ["open", "subprocess.Popen"]
    assert left == ["home/cache"]
    make_writable(tmp_path / "bundle")
