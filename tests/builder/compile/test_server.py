"""What the compiler process runs side by side, and in which order."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.compiled import job_of
from tests.support.fake_compiler import steps_of
from thoth_models_builder.compile.server import Server
from thoth_models_builder.spec.compile_job import JOB_NAME, Event, Request

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.spec.compile_job import CompileJob

GIGABYTE = 1024**3


class Paper(Server):
    """A server that notes what it would begin, with how many threads, instead of forking."""

    def __init__(self, place: Path, cores: int, memory: int | None = None) -> None:
        super().__init__((-1, -1), cores, memory, steps=steps_of)
        self.place = place
        self.begun: list[tuple[str, str, int]] = []
        self.events: list[Event] = []

    def add(self, name: str, job: CompileJob, weight_bytes: int = 0) -> None:
        directory = self.place / name
        directory.mkdir()
        (directory / JOB_NAME).write_bytes(job.to_bytes())
        self._accept(Request(kind="compile", job=name, directory=str(directory), weight_bytes=weight_bytes))
        self._begin_what_fits()

    def end(self, name: str, step: str, code: int = 0) -> None:
        job = self._jobs[name]
        (child,) = [child for child, running in job.running.items() if running.step.name == step]
        self._threads.pop(child)
        self._ended(job, job.running.pop(child), code)
        self._begin_what_fits()

    def _send(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    children = iter(range(1_000_000, 2_000_000))
    monkeypatch.setattr("os.fork", lambda: next(children))

    def make_server(cores: int, memory: int | None = None) -> Paper:
        made = Paper(tmp_path, cores, memory)
        begin = made._begin

        def note(job: Any, step: Any, count: int) -> None:
            made.begun.append((job.name, step.name, count))
            begin(job, step, count)

        made._begin = note  # type: ignore[method-assign]
        return made

    return make_server


def names(made: Paper) -> list[tuple[str, str]]:
    return [(job, step) for job, step, _ in made.begun]


def test_steps_wait_for_what_they_need_and_for_cores(make: Any) -> None:
    made = make(cores=2)
    made.add("one", job_of(a="", b="", c="after:a", d="after:a after:b"))
    assert names(made) == [("one", "a"), ("one", "b")]
    made.end("one", "a")
    made.end("one", "b")
    assert names(made)[2:] == [("one", "c"), ("one", "d")]
    made.end("one", "c")
    made.end("one", "d")
    assert [event.kind for event in made.events if event.kind in ("begun", "done", "failed")] == ["begun", "done"]


def test_several_models_share_the_cores(make: Any) -> None:
    made = make(cores=3)
    made.add("one", job_of(a="", b="after:a"))
    made.add("two", job_of(a="", b="after:a"))
    made.add("three", job_of(a="", b="after:a"))
    made.add("four", job_of(a=""))
    assert names(made) == [("one", "a"), ("two", "a"), ("three", "a")]


def test_a_model_waits_for_memory_unless_it_is_alone(make: Any) -> None:
    made = make(cores=4, memory=4 * GIGABYTE)
    made.add("large", job_of(a="", b="after:a"), weight_bytes=8 * GIGABYTE)
    made.add("small", job_of(a=""))
    assert names(made) == [("large", "a")]
    made.end("large", "a")
    made.end("large", "b")
    assert names(made) == [("large", "a"), ("large", "b"), ("small", "a")]


def test_one_step_at_a_time_runs_code_because_each_may_use_most_of_the_memory(make: Any) -> None:
    made = make(cores=4)
    made.add("one", job_of(a="confined", b="confined"))
    made.add("two", job_of(a="confined"))
    made.add("plain", job_of(a=""))
    assert names(made) == [("one", "a"), ("plain", "a")]
    made.end("one", "a")
    assert names(made)[2:] == [("one", "b")]
    made.end("one", "b")
    assert names(made)[3:] == [("two", "a")]


def test_steps_of_one_large_model_do_not_hold_its_weights_many_times(make: Any) -> None:
    made = make(cores=4)
    made.add("large", job_of(a="weights:2", b="weights:2", c="weights:1"), weight_bytes=2 * GIGABYTE)
    assert names(made) == [("large", "a"), ("large", "c")]
    made.add("small", job_of(a="weights:2", b="weights:2"), weight_bytes=1000)
    assert names(made)[2:] == [("small", "a"), ("small", "b")]


def test_a_failure_ends_the_steps_beside_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda process, _signal: killed.append(process))
    made = make(cores=2)
    made.add("one", job_of(a="", b="", c="after:a"))
    made.add("two", job_of(a=""))
    made.end("one", "a", code=-9)
    assert killed == [1_000_001]
    assert "failed" not in {event.kind for event in made.events}
    made.end("one", "b", code=-9)
    (failed,) = [event for event in made.events if event.kind == "failed"]
    assert (failed.job, failed.step, failed.reason) == ("one", "a", "signal 9 (9 is often a lack of memory)")
    assert names(made)[2:] == [("two", "a")]


def test_a_cancelled_job_that_has_not_begun_is_forgotten(make: Any) -> None:
    made = make(cores=1)
    made.add("one", job_of(a=""))
    made.add("two", job_of(a=""))
    made._accept(Request(kind="cancel", job="two"))
    made._accept(Request(kind="cancel", job="unknown"))
    made.end("one", "a")
    assert names(made) == [("one", "a")]
    assert [(event.job, event.kind) for event in made.events[-3:]] == [
        ("two", "failed"),
        ("one", "step_ended"),
        ("one", "done"),
    ]


def test_where_no_process_can_be_started_the_model_fails(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refuse)
    made = make(cores=2)
    made.add("one", job_of(a=""))
    assert made.events[-1] == Event(
        kind="failed",
        job="one",
        step="a",
        reason="that no process could be started for it: Resource temporarily unavailable",
    )


def test_a_job_that_cannot_be_read_fails_alone(make: Any, tmp_path: Path) -> None:
    made = make(cores=2)
    made._accept(Request(kind="compile", job="one", directory=str(tmp_path / "nowhere")))
    made.add("two", job_of(a=""))
    assert [(event.kind, event.job, event.step) for event in made.events[:2]] == [
        ("failed", "one", "job.json"),
        ("begun", "two", ""),
    ]
