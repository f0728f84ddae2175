"""Disks that are full, fail, or can only be read, at each moment: a typed error, nothing lost, and then the same bytes.

The kernel refuses what a command asks of it, once or from then on, at every call of a kind in turn.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.faults.workshop import STAGES
from tests.support.intercepted import FORKS, MAKING, REMOVALS, RENAMES, SPACE, SYNCS

if TYPE_CHECKING:
    from tests.scenarios.faults.workshop import Workshop
    from tests.support.intercepted import Call, Outcome

pytestmark = pytest.mark.hostile

TYPED = {
    *("StoreError", "OutputError", "CompileError", "SourcesFailedError", "EnvironmentFault"),
    None,  # what lock says of models that no source delivers
}


def check_refused(workshop: Workshop, stage: str, outcome: Outcome, number: int) -> bool:
    """Check that a stage that could not do its work says what failed and where, and does it when it can.

    Returns:
        Whether it could not; some failures do not matter, such as that of the time of the last use.
    """
    if outcome.code != 0:
        assert "Traceback" not in outcome.err
        assert outcome.document.get("error") in TYPED
        if number == errno.EAGAIN:
            assert os.strerror(number) in outcome.out or "can't start new thread" in outcome.out
        else:
            assert os.strerror(number) in outcome.out
            assert str(workshop.project.root) in outcome.out
        workshop.check_left(stage)
        again = workshop.run(stage)
        assert again.code == 0, again.err
    workshop.check_complete(stage)
    return outcome.code != 0


class Refusal:
    """Refuses one call of some kinds, or that one and all that follow.

    Attributes:
        seen: Number of calls of these kinds.
        calls: Those that were refused.
    """

    def __init__(self, kinds: frozenset[str], number: int, chosen: int, *, from_then_on: bool = False) -> None:
        self._kinds, self._number, self._chosen, self._from_then_on = kinds, number, chosen, from_then_on
        self.seen = 0
        self.calls: list[Call] = []

    def __call__(self, _number: int, call: Call, _main: int) -> int | None:
        # To make what is there needs no space.
        if call.name not in self._kinds or (call.name in MAKING and os.path.lexists(call.path)):
            return None
        self.seen += 1
        if self.seen < self._chosen or (self.seen > self._chosen and not self._from_then_on):
            return None
        self.calls.append(call)
        return self._number


def refuse_each(
    workshop: Workshop,
    stage: str,
    kinds: frozenset[str],
    number: int,
    *,
    from_then_on: bool = False,
) -> int:
    """Refuse each call of some kinds in turn, and return how often the stage could not do its work then."""
    also = tuple(kinds & FORKS)
    workshop.restore(stage)
    undisturbed = Refusal(kinds, number, chosen=sys.maxsize)
    workshop.run(stage, decide=undisturbed, also=also)
    refusals = 0
    for chosen in range(1, undisturbed.seen + 1):
        workshop.restore(stage)
        refused = Refusal(kinds, number, chosen, from_then_on=from_then_on)
        outcome = workshop.run(stage, decide=refused, also=also)
        try:
            assert refused.calls
            refusals += check_refused(workshop, stage, outcome, number)
        except AssertionError as error:
            error.add_note(f"call {chosen}, {refused.calls[:1]}; {outcome.code}: {outcome.out}{outcome.err}")
            raise
    return refusals


@pytest.mark.parametrize(("stage", "least"), [("lock", 30), ("build", 60), ("sign", 2), ("image", 60)])
def test_a_disk_that_is_full_from_any_moment_on(workshop: Workshop, stage: str, least: int) -> None:
    assert refuse_each(workshop, stage, SPACE, errno.ENOSPC, from_then_on=True) >= least


@pytest.mark.parametrize(("stage", "least"), [("lock", 30), ("build", 20), ("sign", 1), ("image", 5)])
def test_each_sync_that_fails(workshop: Workshop, stage: str, least: int) -> None:
    assert refuse_each(workshop, stage, SYNCS, errno.EIO) >= least


@pytest.mark.parametrize(("stage", "least"), [("lock", 10), ("build", 1), ("sign", 1), ("image", 5)])
def test_each_rename_that_fails(workshop: Workshop, stage: str, least: int) -> None:
    assert refuse_each(workshop, stage, RENAMES, errno.EIO) >= least


@pytest.mark.parametrize("stage", STAGES)
def test_each_removal_that_fails(workshop: Workshop, stage: str) -> None:
    refuse_each(workshop, stage, REMOVALS, errno.EIO)


@pytest.mark.parametrize("begin", ["/logs", "/logs/record.log", "/model", "/model/golden.json", "/result.json"])
def test_a_disk_that_is_full_for_the_compiler(compiling: Workshop, begin: str) -> None:
    compiling.restore("build")
    refused: list[Call] = []

    def decide(_: int, call: Call, main: int) -> int | None:
        is_first = call.process != main and call.path.endswith(begin)
        if not refused and not is_first:
            return None
        refused.append(call)
        return errno.ENOSPC if call.name in SPACE else None

    outcome = compiling.run("build", decide=decide)
    assert refused
    assert check_refused(compiling, "build", outcome, errno.ENOSPC)


@pytest.mark.parametrize("stage", ["lock", "build", "gc"])
def test_a_store_that_can_only_be_read(workshop: Workshop, stage: str) -> None:
    workshop.restore(stage)
    store = str(workshop.project.store)
    outcome = workshop.run(stage, decide=lambda _, call, __: errno.EROFS if call.path.startswith(store) else None)
    assert check_refused(workshop, stage, outcome, errno.EROFS)


@pytest.mark.parametrize(("stage", "least"), [("lock", 5), ("build", 1), ("image", 5)])
def test_a_system_without_room_for_a_thread(workshop: Workshop, stage: str, least: int) -> None:
    """As with a limit of processes, which counts threads."""
    assert refuse_each(workshop, stage, FORKS, errno.EAGAIN, from_then_on=True) >= least


def test_a_system_without_room_for_the_compiler(compiling: Workshop) -> None:
    assert refuse_each(compiling, "build", FORKS, errno.EAGAIN, from_then_on=True) >= 10
