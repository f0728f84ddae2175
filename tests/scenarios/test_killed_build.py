"""A killed build leaves the previous bundle or none, never half a one, and the next build makes it whole."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator, SlowDrip
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
from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

OLD_COMMIT = "c" * 40
KILLS = 10
SIZE = 400_000


def specify(project: Project, commit: str) -> None:
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": commit}]}})
    project.lock()
    # Locking fetched the small files; a build from an empty store has more to do, and so more to be killed in.
    shutil.rmtree(project.store)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """The digest and the content of the bundle that was never in danger."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    with HubSimulator() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        hub.add_model("org/mini", model_files("new", size=SIZE), revision=COMMIT)
        specify(project, COMMIT)
        digest = project.build().bundle_digest
    found = contents(project.output)
    make_writable(project.root)
    return digest, found


@pytest.fixture
def threatened(hub: HubSimulator, project: Project) -> Project:
    hub.add_model("org/mini", model_files("old", size=SIZE), revision=OLD_COMMIT)
    hub.add_model("org/mini", model_files("new", size=SIZE), revision=COMMIT)
    specify(project, COMMIT)
    return project


def build_old(project: Project) -> None:
    """Put a bundle of other content where the new one is to go, and forget how it was made."""
    specify(project, OLD_COMMIT)
    project.build()
    specify(project, COMMIT)


def content_of(output: Path) -> dict[str, bytes] | None:
    """Return what is at the output, which must be nothing or intact."""
    if not output.exists():
        return None
    is_intact(output)
    return contents(output)


def check_left(project: Project, previous: dict[str, bytes] | None, expected: dict[str, bytes]) -> None:
    """Check what a killed build left: a bundle of old or new or none, and only whole objects in the store."""
    assert content_of(project.output) in (previous, expected)
    for path in (project.store / "objects").glob("*/*"):
        assert Digest.of(path.read_bytes()).hex == path.parent.name + path.name


def check_whole(project: Project, expected: dict[str, bytes]) -> None:
    """Check that the bundle is there and nothing of a killed build is left beside it."""
    assert {path.name for path in project.root.iterdir()} == {"models.yaml", "models.lock", "store", "bundle"}
    assert content_of(project.output) == expected


def test_a_build_killed_at_any_moment_and_restarted_gives_the_same_bundle(
    hub: HubSimulator, threatened: Project, undisturbed: tuple[str, dict[str, bytes]]
) -> None:
    digest, expected = undisturbed
    # The seed makes a failure repeatable, as far as the machine's own timing allows.
    moments = random.Random(20_240_229)  # noqa: S311 - moments, not secrets
    hub.fault("model.safetensors", SlowDrip(SIZE))  # a second for the weights
    started = time.monotonic()
    assert run_builder(*threatened.arguments("build")).returncode == 0
    duration = time.monotonic() - started
    assert contents(threatened.output) == expected
    interrupted = 0
    for index in range(KILLS):
        hub.clear_faults()
        make_writable(threatened.root)
        shutil.rmtree(threatened.output, ignore_errors=True)
        shutil.rmtree(threatened.store, ignore_errors=True)
        previous: dict[str, bytes] | None = None
        if index % 2:
            build_old(threatened)
            previous = contents(threatened.output)
        hub.fault("model.safetensors", SlowDrip(SIZE))
        # One moment in each tenth of the time that a build takes, so that they are spread over all of it.
        moment = (index + moments.random()) * duration / KILLS
        with subprocess.Popen(
            [sys.executable, "-m", "thoth_models_builder", *threatened.arguments("build")],
            env=environment_of_children(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(moment)
            process.kill()
        interrupted += process.returncode == -signal.SIGKILL
        hub.clear_faults()
        check_left(threatened, previous, expected)
        finished = run_builder(*threatened.arguments("build", "--json"))
        assert finished.returncode == 0, finished.stderr
        assert json.loads(finished.stdout)["bundle_digest"] == digest
        check_whole(threatened, expected)
    # The last one may have been finished by the time it was killed.
    assert interrupted >= KILLS - 2


_DIE = """
import importlib, os, signal, sys
from thoth_models_builder.cli import main as cli
from thoth_models_builder.bundle import write_tree

module, name, when, left = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
owner = write_tree if module == "write_tree" else importlib.import_module("pathlib").Path
real = getattr(owner, name)

def die_at_some_call(*arguments, **options):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **options)
    if left == 0 and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return result

if owner is not write_tree:
    write_tree._exchange = lambda *_: False
setattr(owner, name, die_at_some_call)
sys.exit(cli.main(sys.argv[5:]))
"""


def die(project: Project, module: str, function: str, when: str, call: int) -> None:
    """Build in a process that kills itself before or after the given call of a function."""
    process = subprocess.run(
        [sys.executable, "-c", _DIE, module, function, when, str(call), *project.arguments("build")],
        env=environment_of_children(),
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


@pytest.mark.parametrize("has_previous", [False, True])
@pytest.mark.parametrize(
    ("function", "when", "call"),
    [
        ("clone_or_copy", "before", 1),
        ("clone_or_copy", "after", 4),
        ("_write", "before", 1),  # the manifest
        ("_write", "after", 2),  # the checksum list
        ("_close_directories", "after", 1),
        ("verify", "after", 1),
        ("_move_into_place", "before", 1),
        ("_move_into_place", "after", 1),  # the previous bundle lies beside it
    ],
)
def test_a_build_killed_at_each_step_of_assembling(
    *,
    function: str,
    when: str,
    call: int,
    has_previous: bool,
    threatened: Project,
    undisturbed: tuple[str, dict[str, bytes]],
) -> None:
    digest, expected = undisturbed
    previous = None
    if has_previous:
        build_old(threatened)
        previous = contents(threatened.output)
        # With a previous bundle there, it is verified first.
        call += function == "verify"
    die(threatened, "write_tree", function, when, call)
    is_moved = (function, when) == ("_move_into_place", "after")
    assert content_of(threatened.output) == (expected if is_moved else previous)
    check_left(threatened, previous, expected)
    assert threatened.build().bundle_digest == digest
    check_whole(threatened, expected)


def test_where_names_cannot_be_exchanged_a_kill_between_two_steps_leaves_none(
    threatened: Project, undisturbed: tuple[str, dict[str, bytes]]
) -> None:
    digest, expected = undisturbed
    build_old(threatened)
    die(threatened, "pathlib", "rename", "after", 1)
    assert not threatened.output.exists()
    assert threatened.build().bundle_digest == digest
    check_whole(threatened, expected)


def test_a_killed_lock_leaves_the_previous_one(hub: HubSimulator, threatened: Project) -> None:
    before = snapshot(threatened.lock_file)
    hub.fault("vocab.txt", SlowDrip(2))
    with subprocess.Popen(
        [sys.executable, "-m", "thoth_models_builder", *threatened.arguments("lock")],
        env=environment_of_children(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 30
        while not any("vocab.txt" in request.path for request in hub.requests) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert snapshot(threatened.lock_file) == before
    hub.clear_faults()
    assert not threatened.lock().is_rewritten
