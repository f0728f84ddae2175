"""The same lock gives the same bytes: promise 3 of the design."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import (
    COMMIT,
    Project,
    contents,
    environment_of_children,
    is_intact,
    model_files,
    run_builder,
    snapshot,
)
from thoth_models_builder.bundle import write_tree
from thoth_models_builder.errors import (
    OutputError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.hub_simulator import HubSimulator


HUB = {"hub": "org/mini", "revision": COMMIT}
WHEEL = {"wheel": "some-mini==0.1.0", "path": "some_mini/model"}
DIRECTORY = {"directory": "model"}


_AS_ANOTHER_USER = """
import contextlib, io, os, sys
import thoth_models_builder.sources.hub
from thoth_models_builder.cli.main import main
# What is imported late, codecs above all, is imported now: another user may not reach the interpreter.
with contextlib.redirect_stdout(io.StringIO()):
    main(["lock", "--check", "--json", *sys.argv[3:5]])
os.umask(int(sys.argv[1], 8))
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[2:]))
"""


def test_the_same_lock_gives_the_same_bytes_wherever_whenever_and_by_whomever(local: Project) -> None:
    first = local.build()
    # Not below pytest's own directory, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as name:
        away = Path(name)
        copy = Project(away / "a longer path" / "project")
        shutil.copytree(local.root / "model", copy.root / "model")
        for path in (copy.root / "model").rglob("*"):
            os.utime(path, (0, 0))
        shutil.copy(local.file, copy.file)
        shutil.copy(local.lock_file, copy.lock_file)
        for path in [away, *away.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o644)
        finished = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_AS_ANOTHER_USER), "077", *copy.arguments("build", "--json")],
            env=environment_of_children(TZ="Asia/Kathmandu", LC_ALL="C", PYTHONHASHSEED="1", HOME=name, LANG="C"),
            cwd=copy.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        report = json.loads(finished.stdout)
        assert (report["bundle_digest"], report["set_digest"]) == (first.bundle_digest, first.set_digest)
        assert contents(copy.output) == contents(local.output)
        modes = [{path: entry.mode for path, entry in snapshot(project.output).items()} for project in (copy, local)]
        assert modes[0] == modes[1]
        if os.geteuid() == 0:
            assert {entry.owner for entry in snapshot(copy.output).values()} == {65534}
        make_writable(copy.root)


def test_the_time_is_in_nothing(local: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = local.build()
    monkeypatch.setattr(time, "time", lambda: 4_102_444_800.0)
    again = local.build(output=local.root / "later")
    assert again.bundle_digest == first.bundle_digest
    text = (local.output / "manifest.json").read_text(encoding="utf-8")
    assert str(local.root) not in text
    assert os.uname().nodename not in text


# --- at the same time ---


def test_two_builds_share_a_store(hub: HubSimulator, tmp_path: Path) -> None:
    files = model_files("mini", size=200_000)
    hub.add_model("org/mini", files, revision=COMMIT)
    projects = [Project(tmp_path / name) for name in ("one", "two", "three")]
    for project in projects:
        project.specify({"mini": {"sources": [HUB]}})
        project.lock()
        shutil.rmtree(project.store)
    shared = tmp_path / "shared"
    with ThreadPoolExecutor() as pool:
        reports = list(pool.map(lambda project: project.build(store=shared), projects))
    assert len({report.bundle_digest for report in reports}) == 1
    for project in projects:
        is_intact(project.output)
    assert list((shared / "partial").iterdir()) == []
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (shared / "objects").glob("*/*")}
    assert modes == {0o444}


def test_two_processes_share_a_store(hub: HubSimulator, tmp_path: Path) -> None:
    hub.add_model("org/mini", model_files("mini", size=200_000), revision=COMMIT)
    projects = [Project(tmp_path / name) for name in ("one", "two")]
    for project in projects:
        project.specify({"mini": {"sources": [HUB]}})
    projects[0].lock()
    shutil.copy(projects[0].lock_file, projects[1].lock_file)
    shared = tmp_path / "shared"
    with ThreadPoolExecutor() as pool:
        run: Callable[[Project], Any] = lambda project: run_builder(  # noqa: E731 - one line is what it is
            *[part for part in project.arguments("build", "--json") if not part.startswith("--store")],
            f"--store={shared}",
        )
        finished = list(pool.map(run, projects))
    assert [one.returncode for one in finished] == [0, 0]
    reports: list[Mapping[str, Any]] = [json.loads(one.stdout) for one in finished]
    assert reports[0]["bundle_digest"] == reports[1]["bundle_digest"]


def test_two_builds_at_one_output(local: Project) -> None:
    local.build()
    with (
        write_tree.claim(local.output, local.store / "locks"),
        pytest.raises(OutputError, match="found another build writing it"),
    ):
        local.build()
