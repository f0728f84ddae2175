"""A confined child ends in time, with whatever it started, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.confined_code import Workplace, run_code, start_code, workplace_of
from tests.support.waiting import until
from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.confine import Limits
from thoth_models_builder.compile.sandbox.supervise import run_confined

if TYPE_CHECKING:
    from pathlib import Path

SLEEP = "(scratch / str(__import__('os').getpid())).write_text('x'); import time; time.sleep(600)"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(
            "import itertools\nfor i in itertools.count(): (scratch / str(i)).write_bytes(bytes(100_000))",
            "expected at most 1048576 bytes of files, found ",
            id="disk",
        ),
        pytest.param(
            "import itertools\nfor i in itertools.count(): (scratch / str(i)).touch()",
            "expected at most 500 files, found ",
            id="files",
        ),
        pytest.param(
            "import os, time\nos.chdir(scratch)\nfor _ in range(40): os.mkdir('deeper'); os.chdir('deeper')\n"
            "time.sleep(600)",
            "expected at most 32 directories in each other, found ",
            id="depth",
        ),
        pytest.param(
            "import threading, time\nthreading.stack_size(32768)\n"
            "for _ in range(700): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
            "time.sleep(600)",
            "expected at most 512 threads, found ",
            id="threads",
        ),
        pytest.param(
            "import os\nwhile True: os.write(1, b'x\\n' * 50_000)",
            "expected at most 4194303 bytes of output, found 4194304",
            id="log",
        ),
    ],
)
def test_code_that_takes_too_much_is_stopped_and_named(place: Workplace, code: str, message: str) -> None:
    found = run_code(place, code)
    assert found.error is not None
    assert f"the confined process was stopped: {message}" in found.error, found.output
    assert list(place.job.iterdir()) == []


@pytest.mark.hostile
@pytest.mark.parametrize(
    "code",
    [
        pytest.param("os.mkdir('closed', 0o300); os.chdir('closed')", id="closed"),
        pytest.param("for _ in range(20): os.mkdir('long' * 60); os.chdir('long' * 60)", id="long path"),
    ],
)
def test_what_cannot_be_counted_is_too_much(place: Workplace, code: str) -> None:
    fill = "for number in range(50): open(str(number), 'wb').write(bytes(100_000))\nimport time; time.sleep(15)"
    found = run_code(place, f"import os; os.chdir(scratch)\n{code}\n{fill}")
    assert found.error is not None
    # A root that reads everything counts what is in a directory that is closed.
    assert "to be readable, found: " in found.error or "bytes of files" in found.error, found
    assert list(place.job.iterdir()) == []


@pytest.mark.hostile
def test_files_without_a_name_leave_something_of_the_disk(place: Workplace) -> None:
    mounted = ("-t", "tmpfs", "-o", "size=16m,mode=1777", "none", str(place.job))
    place.scratch.rmdir()
    if subprocess.run(["mount", *mounted], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot make a small disk")
    code = """
import os, time
held = []
for number in range(12):
    held.append(open(scratch / str(number), "wb"))
    (scratch / str(number)).unlink()
    held[-1].write(bytes(900_000))
    held[-1].flush()
time.sleep(15)
"""
    try:
        found = run_code(place, code)
    finally:
        subprocess.run(["umount", "--lazy", str(place.job)], check=True)
    assert found.error is not None
    assert "the confined process was stopped: expected to leave 8388608 bytes of the disk free, found" in found.error


@pytest.mark.hostile
def test_code_that_could_not_be_ended_does_not_run() -> None:
    with workplace_of("root of a container") as place:
        if place is None:
            pytest.skip("this machine has no root with fewer capabilities")
        without_kill = tuple(part.replace("+kill,", "") for part in place.command)
        assert without_kill != place.command
        found = run_code(replace(place, command=without_kill), "print('it ran')")
    assert found.error is not None
    assert "expected to be able to end the confined process" in found.error
    assert "it ran" not in found.output


@pytest.mark.hostile
def test_the_log_cannot_be_shortened(place: Workplace) -> None:
    assert "Invalid argument" in run_code(place, "import os; os.ftruncate(1, 2**20)").output


def test_another_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SandboxError, match=r"expected Linux, .* found darwin; build in a container"):
        run_confined(print, scratch=tmp_path, outside=tmp_path, readable=[], limits=Limits(memory=1, disk=1))


def test_a_crash_is_named(place: Workplace) -> None:
    found = run_code(place, "import ctypes; ctypes.string_at(0)")
    assert found.error == "the confined process ended with SIGSEGV (SIGKILL is often a lack of memory)"


def started(job: Path, run: subprocess.Popen[str]) -> int:
    """Wait until the code runs, and return the id of its process."""
    scratch = job / "scratch"

    def begun() -> list[str]:
        assert run.poll() is None
        return [name.name for name in scratch.iterdir() if name.name.isdecimal()] if scratch.exists() else []

    until(begun)
    return int(begun()[0])


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.hostile
def test_cancelling_ends_code_that_sleeps_for_ever(place: Workplace) -> None:
    with start_code(place, SLEEP) as run:
        child = started(place.job, run)
        os.kill(run.pid, signal.SIGTERM)
        assert run.wait(30) == 128 + signal.SIGTERM
        assert not is_alive(child)
        run.communicate()
    assert list(place.job.iterdir()) == []


@pytest.mark.hostile
def test_code_does_not_outlive_the_process_that_watches_over_it(place: Workplace) -> None:
    with start_code(place, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}") as run:
        child = started(place.job, run)
        run.kill()
        run.wait(30)
        try:
            until(lambda: not is_alive(child))
        finally:
            if is_alive(child):
                os.kill(child, signal.SIGKILL)


@pytest.mark.hostile
def test_a_tree_that_is_hard_to_remove_is_removed(place: Workplace) -> None:
    code = """
import os
os.chdir(scratch)
for number in range(1100):
    os.mkdir("deeper" * 20)
    os.chdir("deeper" * 20)
os.mkdir(scratch / "closed", 0)
raise ValueError("enough")
"""
    found = run_code(place, code, without=["watch"])
    assert "ValueError: enough" in found.output
    assert list(place.job.iterdir()) == []
