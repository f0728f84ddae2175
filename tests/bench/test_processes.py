from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench import processes
from bench.processes import SubjectError, Worker, last_words, run, worker_environment

FIRST = "import json, sys, time; print(json.dumps({'first': time.monotonic()}), flush=True)"
ANSWERS = "for line in sys.stdin: print(json.dumps({'memory': {'rss': 2, 'pss': 1}}), flush=True)"
FAILS = "for line in sys.stdin: print(json.dumps({'error': 'RuntimeError: out of order'}), flush=True)"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starter:
    return Starter(tmp_path / "script.py", monkeypatch)


class Starter:
    """Starts a worker whose script is another one."""

    def __init__(self, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._script = script
        monkeypatch.setattr(processes, "SCRIPT", script)

    def __call__(self, *lines: str, timeout: float = 30) -> Worker:
        self._script.write_text("\n".join(lines), encoding="utf-8")
        return Worker(Path(sys.executable), {}, worker_environment(1), timeout=timeout)


def test_a_worker_tells_of_its_first_vector_and_then_answers(start: Starter) -> None:
    with start(FIRST, ANSWERS) as worker:
        assert 0 < worker.first_vector() < time.monotonic() - worker.started
        assert worker.memory() == {"rss": 2, "pss": 1}


def test_a_worker_tells_of_the_memory_of_one_text(start: Starter, tmp_path: Path) -> None:
    peak = "print(json.dumps({'before': 1, 'peak': 2, 'seconds': 0.5, **json.loads(line)}), flush=True)"
    with start(FIRST, f"for line in sys.stdin: {peak}") as worker:
        worker.first_vector()
        found = worker.peak(tmp_path / "one.json")
    asked = {"do": "peak", "texts": str(tmp_path / "one.json")}
    assert found == {"before": 1, "peak": 2, "seconds": 0.5, **asked}


def test_the_reason_of_a_worker_that_dies_is_kept(start: Starter) -> None:
    with start("raise SystemExit('no such model')") as worker, pytest.raises(SubjectError, match="no such model"):
        worker.first_vector()


def test_a_worker_that_dies_later_is_noticed(start: Starter) -> None:
    with start(FIRST, "sys.exit('had enough')") as worker:
        worker.first_vector()
        with pytest.raises(SubjectError, match="had enough"):
            worker.memory()


def test_an_error_of_one_command_has_its_message(start: Starter) -> None:
    with start(FIRST, FAILS) as worker:
        worker.first_vector()
        with pytest.raises(SubjectError, match="out of order"):
            worker.memory()


def test_a_worker_that_hangs_is_not_waited_for(start: Starter) -> None:
    with start("import time; time.sleep(600)", timeout=0.2) as worker, pytest.raises(SubjectError, match="no answer"):
        worker.first_vector()


def test_measured_processes_are_offline_and_get_no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "THOTH_MODELS_DIR", "COV_CORE_SOURCE"):
        monkeypatch.setenv(name, "something")
    environment = worker_environment(3)
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert not {"HF_ENDPOINT", "THOTH_MODELS_DIR", "COV_CORE_SOURCE"} & set(environment)


def test_a_command_that_fails_or_hangs_or_is_not_there_is_one_kind_of_error() -> None:
    assert run([sys.executable, "-c", "print(1)"], timeout=30).stdout == "1\n"
    with pytest.raises(SubjectError, match="exit code 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], timeout=30)
    with pytest.raises(SubjectError, match="did not end within"):
        run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.2)
    with pytest.raises(SubjectError, match="No such file"):
        run(["/nowhere/python"], timeout=30)


def test_the_end_of_long_output_is_kept() -> None:
    assert last_words(b"a\n  b\n") == "a b"
    assert last_words(b"x" * 5000 + b" the reason").endswith("the reason")
    assert len(last_words(b"x" * 5000)) < 700
