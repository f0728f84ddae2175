"""Commands that are killed or interrupted at any moment lose nothing, and the next run gives the same bytes."""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.faults.kill_points import KINDS, LOSSES, Point, all_points, calls_of, choose, try_point
from tests.support.bundles import make_writable
from tests.support.intercepted import RENAMES, end_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.scenarios.faults.workshop import Workshop
    from tests.support.intercepted import Call, Decision

pytestmark = pytest.mark.hostile


def try_points(workshop: Workshop, count: int) -> None:
    points = all_points(workshop)
    assert len(points) > 300, "expected hundreds of moments"
    chosen = choose(points, count)
    assert {point.stage for point in chosen} >= {"lock", "build", "image"}
    assert {point.kind for point in chosen} == set(KINDS)
    for point in chosen:
        try_point(workshop, point)


def test_killed_at_any_moment_and_run_again_each_command_gives_the_same_bytes(compiling: Workshop) -> None:
    try_points(compiling, 20)


def test_killed_at_any_moment_of_a_first_release(first: Workshop) -> None:
    try_points(first, 20)


@pytest.mark.parametrize(("stage", "least"), [("build", 2), ("sign", 1), ("image", 5)])
def test_killed_before_and_after_each_rename(workshop: Workshop, stage: str, least: int) -> None:
    """What counts is renamed into its place: the bundle, its report, its signature, the blobs and index of an image."""
    calls = calls_of(workshop, stage)
    renames = [number for number, call in enumerate(calls, 1) if call.name in RENAMES]
    assert len(renames) >= least
    for number in renames:
        try_point(workshop, Point(stage, number, "kill"))
        if number < len(calls):
            try_point(workshop, Point(stage, number + 1, "kill"))


def test_where_names_cannot_be_exchanged_a_kill_between_two_steps_leaves_none(workshop: Workshop) -> None:
    workshop.restore("build")

    def decide(_: int, call: Call, main: int) -> Decision:
        if call.name == "renameat2":
            return errno.EINVAL
        if call.name == "rename" and call.path == str(workshop.project.output):
            return end_all(main)
        return None

    assert workshop.run("build", decide=decide).code == -signal.SIGKILL
    assert not workshop.project.output.exists()
    workshop.check_left("build")
    assert workshop.run("build").code == 0
    workshop.check_complete("build")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_is_whole_at_each_of_its_few_moments(workshop: Workshop, kind: str) -> None:
    count = len(calls_of(workshop, "sign"))
    assert count >= 4, "expected a file that is made, written, synced and renamed"
    for number in range(1, count + 1):
        try_point(workshop, Point("sign", number, kind))  # type: ignore[arg-type]


def test_the_compiler_is_killed_too(compiling: Workshop) -> None:
    calls = calls_of(compiling, "build")
    main = calls[0].process
    numbers = [number for number, call in enumerate(calls, 1) if call.process != main and "/golden.json" in call.path]
    assert numbers, "expected calls of the process that compiles"
    assert "compile-" in try_point(compiling, Point("build", numbers[0], "kill-caller"))


WAYS: dict[str, Callable[[Path], object]] = {
    "a file of a user": lambda root: (root / "notes.txt").unlink(),
    "a lock": lambda root: (root / "models.lock").write_bytes(b"{}"),
    "a signature": lambda root: (root / "bundle.sig").unlink(),
    "a bundle": lambda root: next((root / "bundle").rglob("vocab.txt")).write_bytes(b"other"),
    "an image": lambda root: next((root / "image/blobs/sha256").glob("[0-9a-f]*")).unlink(),
    "an object": lambda root: next((root / "store/objects").glob("*/*")).write_bytes(b"other"),
    "a temporary file": lambda root: (root / ".models.lock.0123456789abcdef").write_bytes(b""),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_lost_or_left_is_noticed(workshop: Workshop, way: str) -> None:
    """The positive control of the checks."""
    workshop.restore("gc")
    workshop.check_left("image")
    make_writable(workshop.project.root)
    WAYS[way](workshop.project.root)
    with pytest.raises(LOSSES):
        check(workshop)


def check(workshop: Workshop) -> None:
    workshop.check_left("image")
    workshop.check_complete("image")
