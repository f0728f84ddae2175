"""What a test of a hang says: ours is ready where the control hangs, has tried nothing, and has the right vectors."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from tests.docker.hang_lab import READY_SECONDS, TORCH_READY_SECONDS, Subject

if TYPE_CHECKING:
    from tests.docker.hang_lab import Lab, Outcome
    from tests.docker.ledger import Ledger
    from thoth_models.types import FloatArray

_AT_ONCE = 10
"""Controls that stand still beside each other; each holds some hundred megabytes."""

CONTROLS, OURS = "tests.docker.subjects.controls", "tests.docker.subjects.ours"
"""Modules of the subjects."""

_OURS_SECONDS = 40.0
"""After which ours is stopped; it fails long before."""

TOLERANCE = 1e-5
"""Largest difference of a number to the same number of plain sentence-transformers."""


def control(name: str, image: str = "current", **options: Any) -> Subject:
    """Return the control of a row: a function of ``subjects/controls.py``, and where it is put."""
    return Subject(image=image, command=(CONTROLS, name), **options)


class Controls:
    """Runs the controls in the background."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="control")
        self._futures: dict[Subject, Future[Outcome]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, control: Subject) -> None:
        """Start a control, unless it is started."""
        if control not in self._futures:
            self._futures[control] = self._pool.submit(self._lab.run, control, control=True)

    def outcome(self, control: Subject) -> Outcome:
        """Wait for what became of it."""
        return self._futures[control].result()

    def wait_for_all(self) -> None:
        """Wait until no control is left that may use the processor."""
        for future in self._futures.values():
            future.exception()


@dataclass
class Hang:
    """One row, in one test.

    Attributes:
        row: Its number in the table of hangs.
        name: Name of the test, for the table.
        subject: The control.
        references: The right vectors.
    """

    row: str
    name: str
    subject: Subject
    lab: Lab
    controls: Controls
    ledger: Ledger
    references: FloatArray
    _found: list[tuple[Subject, Outcome]] = field(default_factory=list)

    def ours(self, name: str = "embed", variant: str = "onnx-fp32", *more: str, image: str = "ours") -> Outcome:
        """Run ours where the control is, and check all that has to be true of every row.

        Args:
            name: What it does there: a function of ``subjects/ours.py``.
            variant: Of the model.
            more: Arguments of that function.
            image: See :mod:`tests.docker.hang_images`.
        """
        subject = replace(self.subject, image=image, command=(OURS, name, variant, *more), seconds=_OURS_SECONDS)
        bound = TORCH_READY_SECONDS if variant.startswith("torch") else READY_SECONDS
        outcome = self.lab.run(subject, control=False)
        if outcome.ready and outcome.seconds > bound:
            # Beside much else, perhaps. What is late by itself is late again.
            outcome = self.lab.run(subject, control=False)
        self._found.append((subject, outcome))
        what = f"{' '.join(subject.command)}: {outcome}\n{outcome.output[-3000:]}"
        assert outcome.ready, what
        assert outcome.exit_code == 0, what
        assert outcome.seconds <= bound, what
        assert outcome.accepted == 0, what
        assert outcome.attempts == {"connections": 0, "datagrams": 0}, what
        np.testing.assert_allclose(np.array(outcome.facts["vectors"]), self.references, rtol=0, atol=TOLERANCE)
        return outcome

    def control(self, *, failure: str | None = None, log: str = "", attempts: bool = False) -> Outcome:
        """Check that the control stood still, or failed as it should; skip with its timing where it does not any more.

        Args:
            failure: Pattern of the last line of a failure that counts; None where only standing still does.
            log: Pattern of what it has to have said meanwhile.
            attempts: It has to have reached for the network, which shows that the counting sees it.
        """
        outcome = self.controls.outcome(self.subject)
        self.write(str(outcome), outcome.accepted or sum(outcome.attempts.values()))
        assert re.search(log, outcome.output), (
            f"expected {log!r} in the output of the control: {outcome.output[-3000:]}"
        )
        if attempts:
            assert outcome.accepted > 0 or sum(outcome.attempts.values()) > 0, outcome
        if outcome.ready:
            pytest.skip(f"row {self.row}: the control does not hang any more, {outcome}")
        if not outcome.blocked:
            assert failure is not None, f"expected it to block, found {outcome}: {outcome.output[-3000:]}"
            assert re.search(failure, "out of memory" if outcome.out_of_memory else outcome.last_line), outcome
        return outcome

    def write(self, found: str, tried: int = 0) -> None:
        """Write one line for each run of ours into the table: what came of the control, and what it tried to reach."""
        for subject, ours in self._found:
            made = ours.accepted + sum(ours.attempts.values())
            how = f"{subject.image}: {' '.join(subject.command[1:])}"
            self.ledger.add(self.row, self.name, found, tried, how, f"ready after {ours.seconds:.1f} s", made)
