"""Kill the commands that make a release at numbered moments, run them again, and compare.

A moment is just before a system call that changes files. At each, all processes are killed, or only the one that makes
the call, or the command is interrupted as by Ctrl-C.

``python -m tests.scenarios.faults.kill_points --points 500`` takes so many of all moments, always the same ones for one
``--seed``: half of them between two releases, with a model that is compiled, the others at the first release.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tests.scenarios.faults.workshop import STAGES, Workshop
from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator
from tests.support.intercepted import Commands, end_all, end_caller
from tests.support.signing import make_certificate
from thoth_models.errors import ThothModelsError
from thoth_models_builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.intercepted import Call, Decision

Kind = Literal["kill", "kill-caller", "interrupt"]
KINDS: Final[tuple[Kind, ...]] = ("kill", "kill-caller", "interrupt")
SEED: Final = 20_240_229
LOSSES: Final = (AssertionError, BuildError, ThothModelsError)
"""What it raises to look at a project in which something is lost, half or different."""


class Point(NamedTuple):
    """A moment of a stage, and what happens then."""

    stage: str
    number: int
    kind: Kind


def all_points(workshop: Workshop) -> list[Point]:
    """Return every point of every stage, by the calls of an undisturbed run."""
    return [
        Point(stage, number + 1, kind)
        for stage in STAGES
        for number in range(len(calls_of(workshop, stage)))
        for kind in KINDS
    ]


def calls_of(workshop: Workshop, stage: str) -> list[Call]:
    workshop.restore(stage)
    outcome = workshop.run(stage, decide=lambda *_: None)
    assert outcome.code == 0, outcome.err
    return outcome.calls


def choose(points: Sequence[Point], count: int, seed: int = SEED) -> list[Point]:
    """Return ``count`` points that are always the same; all of them, again and again, if there are fewer."""
    chooser = random.Random(seed)  # noqa: S311 - moments, not secrets
    found: list[Point] = []
    while len(found) < count:
        found += chooser.sample(points, min(count - len(found), len(points)))
    return found


def try_point(workshop: Workshop, point: Point) -> str:
    """Disturb a stage at a point and run it again; return the call at that point.

    Raises:
        AssertionError, BuildError, ThothModelsError: Something is lost, half, left over or different.
    """
    workshop.restore(point.stage)

    def decide(number: int, call: Call, main: int) -> Decision:
        if number != point.number:
            return None
        if point.kind == "kill":
            return end_all(main)
        if point.kind == "kill-caller":
            return end_caller(call)
        os.kill(main, signal.SIGINT)
        return None

    disturbed = workshop.run(point.stage, decide=decide)
    assert len(disturbed.calls) >= point.number, "expected the calls of an undisturbed run"
    try:
        if point.kind == "kill":
            assert disturbed.code == -signal.SIGKILL
        elif point.kind == "interrupt":
            assert disturbed.code in {0, 4}
            assert "Traceback" not in disturbed.err
        workshop.check_left(point.stage)
        again = workshop.run(point.stage)
        assert again.code == 0, again.err
        workshop.check_complete(point.stage)
    except LOSSES as error:
        error.add_note(f"at {point}, before {disturbed.calls[point.number - 1]}; {disturbed.code}: {disturbed.err}")
        raise
    return str(disturbed.calls[point.number - 1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Try points, print each that fails, and return 1 if one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.faults.kill_points")
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    started, failed = time.monotonic(), 0
    for is_compiled in (True, False):
        with workshop_of(is_compiled=is_compiled, has_previous=is_compiled) as workshop:
            points = all_points(workshop)
            count = (options.points + is_compiled) // 2
            print(f"{count} of {len(points)} points", flush=True)  # noqa: T201
            for done, point in enumerate(choose(points, count, options.seed), 1):
                try:
                    try_point(workshop, point)
                except LOSSES as error:
                    failed += 1
                    print("\n".join([f"{point}: {error}", *getattr(error, "__notes__", [])]), flush=True)  # noqa: T201
                if done % 50 == 0:
                    print(f"{done} tried, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    seconds = time.monotonic() - started
    print(f"{options.points} points, {failed} failed, {seconds:.0f} s")  # noqa: T201
    return 1 if failed else 0


@contextlib.contextmanager
def workshop_of(**options: bool) -> Iterator[Workshop]:
    """Make a workshop for the time of the block; options are those of :meth:`Workshop.of`."""
    with quick_directory() as root, HubSimulator() as hub, Commands(root, environment(root, hub)) as commands:
        yield Workshop.of(root, hub, commands, **options)


@contextlib.contextmanager
def quick_directory() -> Iterator[Path]:
    """Make a directory in memory, where that is possible: commands sync each file, hundreds of times a minute."""
    memory = Path("/dev/shm")  # noqa: S108 - as the name of a mount, below which a new directory is made
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=place) as name:
        try:
            yield Path(name)
        finally:
            make_writable(Path(name))


def environment(root: Path, hub: HubSimulator) -> dict[str, str]:
    """Return the environment of the commands: a hub on this computer, and all that is temporary below ``root``."""
    temporary = root / "tmp"
    temporary.mkdir(exist_ok=True)
    # One certificate: those of the system take longer to read than a command takes otherwise.
    trusted = make_certificate(root, "authority", is_authority=True).file
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
        "SSL_CERT_FILE": str(trusted),
        "TMPDIR": str(temporary),
    }


if __name__ == "__main__":
    sys.exit(main())
