from __future__ import annotations

import itertools
import threading
import time

import pytest

from gates.traffic import Sample, Traffic, judge_traffic
from gates.verdict import BEYOND, UNMEASURED, WITHIN, UnmeasuredError
from tests.operations.gating import RIGHT, SECONDS, figures, serving


def samples(failed: int, count: int) -> list[Sample]:
    return [Sample(0.01, "status 500" if number < failed else "") for number in range(count)]


@pytest.mark.parametrize(
    ("failed", "count", "limit", "code"),
    [
        (4, 100, 0.05, WITHIN),
        (5, 100, 0.05, WITHIN),
        (6, 100, 0.05, BEYOND),
        (0, 100, 0.0, WITHIN),
        (1, 100_000, 0.0, BEYOND),
        (0, 1, 0.0, WITHIN),
        (0, 0, 0.0, UNMEASURED),
        (0, 19, 0.05, UNMEASURED),  # one more failure would have been beyond the limit
        (1, 19, 0.05, UNMEASURED),
        (2, 19, 0.05, BEYOND),
        (1, 20, 0.05, WITHIN),
    ],
)
def test_the_share_of_failures_decides(failed: int, count: int, limit: float, code: int) -> None:
    verdict = judge_traffic(samples(failed, count), limit)
    assert verdict.code == code
    assert (verdict.figures["requests"], verdict.figures["failed"]) == (count, failed)


def test_percentiles_are_those_of_the_answers() -> None:
    found = judge_traffic([*(Sample(number / 100) for number in range(1, 101)), Sample(10.0, "TimeoutError")], 0.05)
    names = ("seconds_p50", "seconds_p95", "seconds_p99", "seconds_max")
    assert [found.figures[name] for name in names] == [0.5, 0.95, 0.99, 1.0]
    assert found.figures["failures"] == {"TimeoutError": 1}


def test_a_slow_answer_holds_up_no_other_request_and_its_whole_wait_counts() -> None:
    """A closed loop would have sent one request in this time, and have counted one wait (coordinated omission)."""
    others, enough = [], threading.Event()

    def send(number: int) -> None:
        if number == 0:
            assert enough.wait(SECONDS)
            return
        others.append(number)
        if len(others) == 20:
            enough.set()

    traffic = Traffic(send, rate=100, timeout=SECONDS)
    traffic.start()
    assert enough.wait(SECONDS)
    found = traffic.finish()
    assert not any(sample.failure for sample in found)
    assert found[0].seconds >= 0.2  # twenty others were due meanwhile


def test_a_late_start_of_a_request_counts_as_waiting() -> None:
    """A client that was busy must not make a service look fast: the time runs from when a request was due."""
    late = 0.3
    traffic = Traffic(lambda number: None, rate=1000, timeout=SECONDS)
    due = time.monotonic() - late
    traffic._one(0, due)
    traffic._due.append(due)
    traffic._pacer.start()
    assert traffic.finish()[0].seconds >= late


def test_what_is_not_answered_in_time_is_lost() -> None:
    never = threading.Event()
    traffic = Traffic(lambda number: never.wait(SECONDS), rate=100, timeout=0.1)
    traffic.start()
    assert traffic.finish()[0] == Sample(0.1, "TimeoutError")
    never.set()


def test_an_answer_that_came_too_late_is_lost() -> None:
    traffic = Traffic(lambda number: None, rate=100, timeout=0.1)
    traffic._one(0, time.monotonic() - 1)
    assert traffic._samples[0].failure == "TimeoutError"


@pytest.mark.parametrize(("failing", "code"), [((0, 10, 20), BEYOND), ((5, 30), WITHIN)])  # 6 %, and 4 %
def test_a_server_that_fails_is_seen(failing: tuple[int, ...], code: int) -> None:
    def respond(number: int, body: bytes) -> tuple[int, bytes]:
        return (500, b"") if number % 50 in failing else RIGHT

    with serving(respond) as url:
        found, printed = figures("watch", url, "--rate", "200", "--for", "1s", "--max-failures", "5%")
    assert found == code, printed
    assert printed["failures"] == {"status 500": printed["failed"]}


def test_one_lost_request_is_beyond_none() -> None:
    with serving(lambda number, body: None if number == 7 else RIGHT) as url:
        code, printed = figures("watch", url, "--rate", "100", "--for", "0.3s")
    assert (code, printed["failed"]) == (BEYOND, 1)


class TestWithoutThreads:
    """A computer that can start no more threads has not sent all requests, and its run says nothing."""

    @pytest.fixture(autouse=True)
    def third_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start, started = threading.Thread.start, itertools.count()

        def refuse(self: threading.Thread) -> None:
            if self._target.__name__ == "_one" and next(started) >= 2:  # type: ignore[attr-defined]
                raise RuntimeError("can't start new thread")
            start(self)

        monkeypatch.setattr(threading.Thread, "start", refuse)

    def test_a_run_that_could_not_send_is_not_measured(self) -> None:
        traffic = Traffic(lambda number: None, rate=100, timeout=SECONDS)
        traffic.start()
        traffic._pacer.join(SECONDS)
        with pytest.raises(
            UnmeasuredError,
            match=r"^expected a thread for each request, found can't start new thread after 2 requests$",
        ):
            traffic.finish()

    @pytest.mark.parametrize(("command", "code"), [("true", UNMEASURED), ("false", BEYOND)])
    def test_a_command_that_failed_has_failed_nevertheless(
        self, command: str, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gates.__main__.MARGIN_SECONDS", 0.2)
        found, printed = figures("watch", "http://127.0.0.1:9/", "--rate", "100", "--", command)
        assert found == code, printed
        assert "can't start new thread" in printed["verdict"]
