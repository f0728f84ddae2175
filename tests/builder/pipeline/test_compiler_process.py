"""The compiler process of a build: what fails costs the model that it fails for, and no other one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.compiled import FAKE_SERVER, job_of, path_of_children
from tests.support.fake_compiler import GOLDEN
from tests.support.projects import Recorder
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.errors import CompileError
from thoth_models_builder.pipeline import compiler_process
from thoth_models_builder.pipeline.compiler_process import Compiler
from thoth_models_builder.pipeline.prepare_model import find_compiled
from thoth_models_builder.spec.compile_job import CompileResult
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from thoth_models_builder.bundle.derivation import Derived
    from thoth_models_builder.spec.compile_job import CompileJob

GOOD = job_of(first="wait", record="after:first result")


@pytest.fixture(autouse=True)
def _fake_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_process, "_SERVER", FAKE_SERVER)
    monkeypatch.setenv("PYTHONPATH", path_of_children())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def key_of(name: str) -> Digest:
    return Digest.of(name.encode())


def compile_all(
    store: Store, deadline: float = 60.0, watcher: Recorder | None = None, **jobs: CompileJob
) -> dict[str, Derived]:
    with Compiler(store, watcher or Recorder(), deadline=deadline) as compiler:
        for name, job in jobs.items():
            compiler.submit(name, job, {}, key=key_of(name), toolchain={"torch": "1"})
        return compiler.collect()


def is_alive(process: int) -> bool:
    """Return whether a process runs; a dead one that its parent has not asked after does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def process_of(store: Store, step: str) -> int:
    """Wait until a step has written its number, and return it."""
    place = store.scratch / f"{step}.pid"
    while not (place.exists() and place.read_text(encoding="utf-8")):
        time.sleep(0.05)
    return int(place.read_text(encoding="utf-8"))


def wait_for_end(process: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_alive(process)


def test_what_is_made_goes_into_the_store(store: Store) -> None:
    made = compile_all(store, one=GOOD)["one"]
    assert store.read(made.files["golden.json"].sha256) == GOLDEN
    assert made == find_compiled(store, key_of("one"))
    assert (made.variants, made.derivation, made.toolchain) == (("torch-fp32",), key_of("one"), {"torch": "1"})
    assert list(store.scratch.iterdir()) == []


def test_nothing_is_started_where_nothing_is_compiled(store: Store) -> None:
    with Compiler(store, Recorder(), deadline=1.0) as compiler:
        assert compiler.collect() == {}
        assert compiler._process is None


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("kill", r"signal 9 \(9 is often a lack of memory\)"),
        ("raise", r"ValueError: what step first says; exit code 1\n(.|\n)*Traceback(.|\n)*: what step first says$"),
    ],
)
def test_a_crash_costs_its_model_alone(store: Store, step: str, found: str) -> None:
    bad = job_of(first=step, other="sleep", record="after:first after:other result")
    with pytest.raises(CompileError, match=rf"^bad: expected the compiler's step 'first' to succeed, found {found}"):
        compile_all(store, one=GOOD, bad=bad, two=GOOD, three=GOOD)
    assert [find_compiled(store, key_of(name)) is not None for name in ("one", "bad", "two", "three")] == [
        True,
        False,
        True,
        True,
    ]
    assert list(store.scratch.iterdir()) == []


def test_each_failure_is_told(store: Store) -> None:
    with pytest.raises(CompileError) as caught:
        compile_all(store, one=job_of(first="kill"), two=job_of(second="raise"))
    assert "one: expected the compiler's step 'first'" in str(caught.value)
    assert "two: expected the compiler's step 'second'" in str(caught.value)


def test_a_deadline_costs_its_model_alone(store: Store) -> None:
    started = time.monotonic()
    slow = job_of(first="sleep", record="after:first result")
    with pytest.raises(CompileError, match=r"^slow: expected the compiler to end within 2 s, found it at work still"):
        compile_all(store, deadline=2.0, slow=slow, one=GOOD)
    assert time.monotonic() - started < 30
    assert find_compiled(store, key_of("one")) is not None
    assert list(store.scratch.iterdir()) == []


def test_time_in_which_a_job_waits_does_not_count(tmp_path: Path) -> None:
    directory = tempfile.TemporaryDirectory(dir=tmp_path)
    directory.cleanup()
    job = compiler_process._Pending(directory=directory, job=GOOD, key=key_of("one"), toolchain={})
    job.begin_step("first", 100.0)
    job.begin_step("second", 101.0)
    job.end_step("first", 103.0)
    assert (job.has_run_for(5.9, 106.0), job.has_run_for(6.1, 106.0)) == (True, False)
    job.end_step("second", 106.0)
    assert not job.has_run_for(6.0, 1106.0), "expected a job that waits not to run"
    job.begin_step("third", 1106.0)
    assert (job.has_run_for(6.0, 1106.0), job.has_run_for(6.1, 1106.0)) == (True, False)


def test_a_builder_that_was_stopped_finds_what_was_finished_meanwhile(store: Store) -> None:
    """As with Ctrl-Z, or while it copies the result of another model: the deadline is the compiler's, not its own."""
    with Compiler(store, Recorder(), deadline=2.0) as compiler:
        compiler.submit("one", GOOD, {}, key=key_of("one"), toolchain={})
        time.sleep(4.0)
        assert set(compiler.collect()) == {"one"}


def test_output_of_libraries_and_steps_is_no_event(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even before our code runs, nor in an encoding that lacks what is printed. Requests are no input of theirs."""
    (tmp_path / "sitecustomize.py").write_text("print('hello from elsewhere')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", path_of_children(tmp_path))
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    made = compile_all(store, one=job_of(first="read print", record="after:first read print result"), two=GOOD)
    assert set(made) == {"one", "two"}


def test_what_is_finished_is_kept_where_a_build_fails_before_it_collects(store: Store) -> None:
    events = ["begun", *("step_begun", "step_ended") * 2, "done"]
    with Compiler(store, Recorder(), deadline=60.0) as compiler:
        compiler.submit("one", GOOD, {}, key=key_of("one"), toolchain={})
        end = time.monotonic() + 30
        while compiler._events.qsize() < len(events) and time.monotonic() < end:
            time.sleep(0.05)
    assert find_compiled(store, key_of("one")) is not None
    assert list(store.scratch.iterdir()) == []


def test_the_rest_of_an_interrupted_copy_is_written_over(store: Store) -> None:
    store.prepare()
    (store.root / "partial" / Digest.of(GOLDEN).hex).write_bytes(b"wrong")
    assert set(compile_all(store, one=GOOD)) == {"one"}


def test_a_job_without_a_result_is_an_error(store: Store) -> None:
    with pytest.raises(CompileError, match="one: expected the compiler to leave a complete result, found"):
        compile_all(store, one=job_of(first="wait"))


def test_a_compiler_that_cannot_start_shows_its_log(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_process, "_SERVER", "no_module_of_this_name")
    with pytest.raises(CompileError, match=r"found that it ended with exit code 1\n(.|\n)*no_module_of_this_name"):
        compile_all(store, one=GOOD)


def test_a_compiler_that_is_killed_is_an_error_and_takes_its_steps_along(store: Store) -> None:
    with Compiler(store, Recorder(), deadline=60.0) as compiler:
        compiler.submit("one", job_of(first="pid sleep"), {}, key=key_of("one"), toolchain={})
        step = process_of(store, "first")
        process = compiler._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(CompileError, match="one: expected the compiler to go on, found that it ended with signal"):
            compiler.collect()
        assert wait_for_end(step)


def test_an_interrupted_build_leaves_no_process_and_no_directory(store: Store) -> None:
    with Compiler(store, Recorder(), deadline=60.0) as compiler:
        compiler.submit("one", job_of(first="sleep"), {}, key=key_of("one"), toolchain={})
        process = compiler._process
        assert process is not None
    assert not is_alive(process.pid)
    assert list(store.scratch.iterdir()) == []


def test_a_step_that_hangs_in_a_library_does_not_outlive_a_compiler_that_is_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler_process, "_END_SECONDS", 2.0)
    with Compiler(store, Recorder(), deadline=60.0) as compiler:
        compiler.submit("one", job_of(first="pid hold"), {}, key=key_of("one"), toolchain={})
        step = process_of(store, "first")
        time.sleep(0.2)  # until it hangs
        assert compiler._process is not None
        os.kill(compiler._process.pid, signal.SIGKILL)
    assert wait_for_end(step)


def test_a_compiler_that_cannot_be_started_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    before = set(Path("/proc/self/fd").iterdir())
    with (
        Compiler(store, Recorder(), deadline=60.0) as compiler,
        pytest.raises(CompileError, match=r"expected to start the compiler, found: .*No such file or directory"),
    ):
        compiler.start()
    assert set(Path("/proc/self/fd").iterdir()) == before


_BUILDER = """
import sys
from pathlib import Path
from tests.builder.pipeline import test_compiler_process as ours
from tests.support.compiled import FAKE_SERVER, job_of
from thoth_models_builder.pipeline import compiler_process
compiler_process._SERVER = FAKE_SERVER
with compiler_process.Compiler(ours.Store(Path(sys.argv[1])), ours.Recorder(), deadline=60.0) as compiler:
    compiler.submit("one", job_of(first=sys.argv[2]), {}, key=ours.key_of("one"), toolchain={})
    print(compiler._process.pid, flush=True)
    compiler.collect()
"""


@pytest.mark.parametrize("hangs", ["sleep", "hold"])
def test_the_compiler_and_its_steps_end_with_a_builder_that_is_killed(store: Store, hangs: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _BUILDER, str(store.root), f"pid {hangs}"],
        stdout=subprocess.PIPE,
        env={**os.environ},
        text=True,
    ) as builder:
        assert builder.stdout is not None
        server = int(builder.stdout.readline())
        step = process_of(store, "first")
        assert is_alive(server)
        assert is_alive(step)
        builder.kill()
    assert wait_for_end(server)
    assert wait_for_end(step)


def test_progress_says_what_begins_and_what_ends(store: Store) -> None:
    watcher = Recorder()
    job = job_of(first="wait", more="wait after:first", record="after:more result")
    compile_all(store, watcher=watcher, one=job)
    assert watcher.steps.calls == [
        ("begin", "one", "first", "more", "record"),
        *((kind, "one", step) for step in ("first", "more", "record") for kind in ("begin_step", "end_step")),
        ("end", "one"),
    ]


def test_the_time_to_begin_counts_from_the_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is started before files are downloaded, which may take longer than it may take to begin."""
    monkeypatch.setattr("thoth_models_builder.pipeline.compiler_process._START_SECONDS", 60.0)
    with Compiler(store, Recorder(), deadline=60.0) as compiler:
        compiler.start()
        compiler._begun_by = 0.0
        compiler.submit("one", job_of(first="wait", record="after:first result"), {}, key=key_of("one"), toolchain={})
        assert compiler._begun_by > time.monotonic() + 30
        assert set(compiler.collect()) == {"one"}


GOLDEN_FILE = ContentDigest(size=len(GOLDEN), sha256=Digest.of(GOLDEN))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("files", "omitted", "message"),
    [
        ({"golden.json": GOLDEN_FILE}, {}, "found no torch-fp32"),
        ({}, {"torch-fp32": "reason"}, "found no golden.json"),
        (
            {"golden.json": GOLDEN_FILE, "source/config.json": GOLDEN_FILE},
            {"torch-fp32": "reason"},
            "found source/config.json",
        ),
    ],
)
def test_a_result_of_the_compiler_that_is_not_what_was_asked_for_is_refused(
    files: dict[str, ContentDigest], omitted: dict[str, str], message: str
) -> None:
    result = CompileResult(files=files, accuracy={}, omitted=omitted)
    with pytest.raises(FormatError, match=message):
        compiler_process._check_complete(result, job_of())
