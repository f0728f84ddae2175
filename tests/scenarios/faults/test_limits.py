"""Builders with few files, with a wrong clock, and several at once on one store."""

from __future__ import annotations

import hashlib
import threading

import pytest

from tests.scenarios.faults.kill_points import environment, quick_directory
from tests.scenarios.faults.workshop import STAGES, Workshop
from tests.support.hub_simulator import HubSimulator
from tests.support.intercepted import Commands, Outcome
from tests.support.projects import contents, is_intact
from thoth_models.bundle.digest import Digest

pytestmark = pytest.mark.hostile


TYPED = {
    *("SpecError", "LockError", "StoreError", "OutputError", "SourcesFailedError", "VerificationError"),
    "EnvironmentFault",
    None,  # what lock says of models that no source delivers
}


def check_bounded(workshop: Workshop, stage: str, outcome: Outcome, *words: str) -> bool:
    """Check that a stage within a limit is done, or says what it lacked; return whether it was done."""
    if outcome.code != 0:
        # asyncio has a traceback of its own, when it cannot make a loop.
        assert "in _guarded" not in outcome.err, outcome.err
        assert outcome.document.get("error") in TYPED, outcome
        assert any(word in outcome.out for word in words), outcome
        workshop.check_left(stage)
        assert workshop.run(stage).code == 0
    workshop.check_complete(stage)
    return outcome.code == 0


@pytest.mark.parametrize("stage", STAGES)
def test_few_open_files(workshop: Workshop, stage: str) -> None:
    done = []
    for limit in (3, 4, 5, 6, 7, 8, 10, 12, 64):
        workshop.restore(stage)
        outcome = workshop.run(stage, limits={"RLIMIT_NOFILE": limit})
        done.append(check_bounded(workshop, stage, outcome, "Too many open files"))
    assert (done[0], done[-1]) == (False, True)


@pytest.mark.parametrize("years", [-60, -1, 40])
def test_a_clock_that_is_wrong_changes_nothing(workshop: Workshop, years: int) -> None:
    for stage in STAGES:
        workshop.restore(stage)
        outcome = workshop.run(stage, clock=years * 365.25 * 86400)
        assert outcome.code == 0, outcome.err
        workshop.check_complete(stage)


def test_a_clock_that_was_set_back_keeps_what_was_used(workshop: Workshop) -> None:
    workshop.restore("gc")
    before = contents(workshop.project.root)
    arguments = [argument for argument in workshop.arguments("gc") if not argument.startswith("--unused-days")]
    outcome = workshop.commands.run(*arguments, clock=-86400.0 * 365)
    assert outcome.document["files"] == 0
    assert contents(workshop.project.root) == before


def test_two_builders_and_a_collection_at_once() -> None:
    with quick_directory() as root, HubSimulator() as hub:
        places = environment(root, hub)
        with Commands(root, places) as one, Commands(root, places) as two, Commands(root, places) as three:
            workshop = Workshop.of(root, hub, one, is_compiled=True, has_previous=False)
            expected = workshop.after("build")
            for _ in range(3):
                workshop.restore("build")
                check_at_once(workshop, (one, two), three)
            workshop.restore("build")
            assert workshop.run("build").code == 0
            workshop.check_complete("build")
            assert expected["bundle/manifest.json"]


def check_at_once(workshop: Workshop, builders: tuple[Commands, Commands], collector: Commands) -> None:
    """Build the same bundle twice while a collection removes all that it can, again and again."""
    outcomes: dict[str, Outcome] = {}
    arguments = [argument for argument in workshop.arguments("build") if not argument.startswith("--output")]

    def build(name: str, commands: Commands) -> None:
        outcomes[name] = commands.run(*arguments, f"--output={workshop.project.root / name}")

    threads = [threading.Thread(target=build, args=pair) for pair in zip(("bundle", "second"), builders, strict=True)]
    for thread in threads:
        thread.start()
    collections = []
    while any(thread.is_alive() for thread in threads):
        collections.append(collector.run(*workshop.arguments("gc")))
    for outcome in outcomes.values():
        assert outcome.code == 0, outcome.err
    assert collections
    for outcome in collections:
        assert outcome.code == 0 or "found one in use by a build" in outcome.out
    digests = {Digest.of((workshop.project.root / name / "manifest.json").read_bytes()) for name in outcomes}
    assert {digest.hex for digest in digests} == {
        hashlib.sha256(workshop.after("build")["bundle/manifest.json"]).hexdigest()
    }
    for name in outcomes:
        is_intact(workshop.project.root / name)
    for path in (workshop.project.store / "objects").glob("*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name
