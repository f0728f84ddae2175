"""The lab itself: what it reads of a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docker.hang_lab import Subject

if TYPE_CHECKING:
    from tests.docker.hang_lab import Lab

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]


def test_an_event_that_is_told_beside_a_log(lab: Lab) -> None:
    subject = Subject(image="ours", command=("tests.docker.subjects.noisy",), seconds=40)
    found = lab.run(subject, control=False)
    assert "a line of a log" in found.output
    assert found.facts == {"event": "ready", "at": found.facts["at"], "text": "x" * 2_000_000}
