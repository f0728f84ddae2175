"""Events in the log: one line each, and the same as attributes of the record."""

from __future__ import annotations

import json
import logging

import pytest

from thoth_models.events import log_event


def test_a_line_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "thoth_models")
    log_event("load", model="mini", variant="onnx-fp32", seconds=0.09123456789, bytes=12)
    (record,) = caplog.records
    assert record.message == "load model=mini variant=onnx-fp32 seconds=0.0912346 bytes=12"
    assert (record.name, record.levelno) == ("thoth_models.events", logging.INFO)
    assert record.event == "load"  # type: ignore[attr-defined]
    assert record.seconds == 0.09123456789  # type: ignore[attr-defined]


@pytest.mark.hostile
def test_an_event_with_several_lines_stays_on_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    reason = 'it "hangs" in\nThread 1: ünd\r\x1b[31m'
    log_event("refusal", model="mini", reason=reason)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line, _, quoted = record.message.partition(" reason=")
    assert line == "refusal model=mini"
    assert json.loads(quoted) == reason
    assert quoted.isprintable()


def test_nothing_is_made_of_what_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "thoth_models.events")
    log_event("fallback", requested="a b")
    assert caplog.records == []
