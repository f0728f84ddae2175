"""Rows 1 to 7 and 20: a network that neither works nor says so. No wait is as long as the ones that nobody set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docker.hangs import control
from tests.docker.subjects import neighbour
from tests.docker.subjects.events import HOME_SECONDS

if TYPE_CHECKING:
    from tests.docker.hangs import Hang

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx, pytest.mark.hostile]

OLD_LOG = r"Status Code: 500\. Retrying"
"""What the services said that were met in the field, again and again."""


@pytest.mark.hang(row="1", control=control("hub_file", "old", port=neighbour.HUB_BROKEN_XET))
def test_xet_store_that_answers_500_to_the_old_pair(hang: Hang) -> None:
    hang.ours(image="ours-old")
    # It waits a random time between its attempts, five in all, and now and then gives up before the control does.
    hang.control(failure="CAS service error", log=OLD_LOG, attempts=True)


@pytest.mark.hang(row="1", control=control("hub_file", port=neighbour.HUB_BROKEN_XET))
def test_xet_store_that_answers_500_to_the_current_pair(hang: Hang) -> None:
    hang.ours()
    hang.control(attempts=True)


@pytest.mark.hang(row="2", control=control("hub_file", "old", port=neighbour.HUB_SILENT_XET))
def test_silent_xet_store_and_the_old_pair(hang: Hang) -> None:
    hang.ours(image="ours-old")
    hang.control(attempts=True)


@pytest.mark.hang(row="2", control=control("hub_file", port=neighbour.HUB_SILENT_XET))
def test_silent_xet_store_and_the_current_pair(hang: Hang) -> None:
    hang.ours()
    hang.control(attempts=True)


@pytest.mark.hang(row="3", control=control("hub_model", port=neighbour.SILENT))
def test_silent_hub(hang: Hang) -> None:
    hang.ours()
    hang.ours(variant="torch-fp32", image="ours-current")
    hang.control(attempts=True)


@pytest.mark.hang(row="4", control=control("hub_model", port=neighbour.BROKEN))
def test_hub_that_answers_500(hang: Hang) -> None:
    hang.ours()
    hang.ours(variant="torch-fp32", image="ours-current")
    hang.control(attempts=True)


@pytest.mark.hang(row="5", control=control("hub_question", port=neighbour.SILENT))
def test_question_without_a_timeout(hang: Hang) -> None:
    # Loading asks nothing by itself, so that the switch shows only where something asks afterwards.
    for variant, image in (("onnx-fp32", "ours"), ("torch-fp32", "ours-current")):
        found = hang.ours("question", variant, image=image).facts
        assert found["refused"] == "OfflineModeIsEnabled"
        assert found["refused_seconds"] < 1
    hang.control(attempts=True)


@pytest.mark.hang(row="6", control=control("relative_path", port=neighbour.SILENT))
def test_relative_path_that_could_be_a_name(hang: Hang) -> None:
    hang.ours("relative_path")
    hang.ours("relative_path", "torch-fp32", image="ours-current")
    hang.control(attempts=True)


@pytest.mark.hang(row="7", control=control("hub_file", port=neighbour.DROP))
def test_dropped_packets(hang: Hang) -> None:
    hang.ours()
    hang.control(attempts=True)


@pytest.mark.hang(row="7", control=control("hub_file", names=True))
def test_name_server_that_never_answers(hang: Hang) -> None:
    hang.ours()
    hang.control(attempts=True)


@pytest.mark.hang(row="-", control=control("call_home", port=neighbour.SILENT))
def test_call_home_of_the_engine(hang: Hang) -> None:
    # Not a hang, and not in the table of hangs; but it is a wait for the network that nobody asked for.
    hang.ours("call_home")
    outcome = hang.controls.outcome(hang.subject)
    tried = sum(outcome.attempts.values())
    hang.write(f"{tried} attempts in {HOME_SECONDS:g} s", tried)
    assert outcome.ready, outcome.output
    if not tried:
        pytest.skip(f"onnxruntime tried nothing within {HOME_SECONDS:g} s")


@pytest.mark.hang(row="20", control=control("late_switch", port=neighbour.SILENT))
def test_offline_switch_after_the_import(hang: Hang) -> None:
    found = hang.ours("late_switch").facts
    assert found["online_before"], "the test is to begin with a library that considers itself online"
    assert found["refused"] in ("LocalEntryNotFoundError", "OfflineModeIsEnabled")
    assert found["refused_seconds"] < 1
    hang.control(attempts=True)
