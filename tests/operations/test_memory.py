from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gates.memory import judge_memory, memory_of
from gates.verdict import BEYOND, UNMEASURED, WITHIN, UnmeasuredError
from tests.operations.gating import figures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = "held = b'x' * ({size} << 20); print('ready', flush=True); input()"
WITH_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"


@contextmanager
def holding(size: int, *, in_child: bool = False) -> Iterator[str]:
    """Run a process that holds so many MiB, itself or by a child, and return it as a place."""
    code = HOLD.format(size=size)
    command = [sys.executable, "-c", *([WITH_CHILD] if in_child else []), code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"pid:{process.pid}"
        process.communicate("\n", timeout=30)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [([100], [150], WITHIN), ([100], [151], BEYOND), ([100, 200], [225, 225], WITHIN), ([100, 200], [400, 60], BEYOND)],
)
def test_half_as_much_again_is_allowed_on_average(old: list[int], new: list[int], code: int) -> None:
    assert judge_memory(old, new, 0.5).code == code


def test_growth_of_real_processes_is_seen() -> None:
    with holding(40) as old, holding(120) as new:
        assert 40 << 20 < memory_of(old) < 80 << 20
        code, printed = figures("memory", "--old", old, "--new", new)
        assert code == BEYOND, printed
        assert figures("memory", "--old", old, "--new", old)[0] == WITHIN
        assert figures("memory", "--old", new, "--new", old)[0] == WITHIN


def test_children_count() -> None:
    with holding(40, in_child=True) as parent:
        assert memory_of(parent) > 40 << 20


def test_a_recorded_figure_takes_the_place_of_a_release_that_is_gone() -> None:
    with holding(40) as new:
        assert figures("memory", "--old", f"bytes:{20 << 20}", "--new", new)[0] == BEYOND
        assert figures("memory", "--old", f"bytes:{200 << 20}", "--new", new)[0] == WITHIN


def test_a_process_that_is_not_there_cannot_be_measured() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    code, printed = figures("memory", "--old", "bytes:1", "--new", f"pid:{ended.pid}")
    assert code == UNMEASURED
    assert "expected to read its memory" in printed["verdict"]


def test_a_process_of_another_user_is_said_to_need_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gates import memory

    monkeypatch.setattr(memory, "PROC", tmp_path)
    (tmp_path / "1" / "smaps_rollup").mkdir(parents=True)  # reading a directory is refused as well
    with pytest.raises(UnmeasuredError, match=r"^process 1: expected to read its memory \(.*\); .* needs root$"):
        memory_of("pid:1")


class TestContainers:
    """A client of an engine that says what a test wants; tests/docker has the real one."""

    IDENTITY = "4f2a" * 16

    @pytest.fixture
    def engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        client = tmp_path / "docker"
        client.write_text(
            f"#!/bin/sh\ncase $1 in\ninspect) echo {self.IDENTITY};;\n"
            f'top) echo "PID"; echo "$PIDS";;\nps) echo "$*" >{tmp_path}/ps; echo "$FOUND";;\nesac\n',
            encoding="utf-8",
        )
        client.chmod(client.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return client

    def test_processes_of_another_computer_are_not_taken_for_its_own(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With an engine elsewhere, the numbers that it gives are those of other processes here."""
        monkeypatch.setenv("PIDS", str(os.getpid()))
        with pytest.raises(UnmeasuredError, match=f"^container web: expected its process {os.getpid()} here, found"):
            memory_of("container:web")

    def test_all_processes_of_a_container_count(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from gates import memory

        monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
        for pid, size in ((7, 100), (8, 20)):
            (place := tmp_path / "proc" / str(pid)).mkdir(parents=True)
            (place / "cgroup").write_text(f"0::/docker/{self.IDENTITY}\n", encoding="utf-8")
            (place / "smaps_rollup").write_text(f"Rss: 9 kB\nPss:  {size} kB\n", encoding="utf-8")
        monkeypatch.setenv("PIDS", "7\n8")
        assert memory_of("container:web") == 120 * 1024

    def test_an_engine_that_fails_is_quoted(self, engine: Path) -> None:
        engine.write_text("#!/bin/sh\necho no such container >&2; exit 1\n", encoding="utf-8")
        with pytest.raises(UnmeasuredError, match=r"^docker inspect: no such container$"):
            memory_of("container:web")

    def test_a_container_without_processes_is_not_measured(self, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIDS", "")
        with pytest.raises(UnmeasuredError, match=r"^container web: expected processes, found none$"):
            memory_of("container:web")

    @pytest.mark.parametrize("project", ["", "shop"])
    def test_a_service_of_compose_is_found_by_its_labels(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch, project: str
    ) -> None:
        monkeypatch.setenv("COMPOSE_PROJECT_NAME", project)
        monkeypatch.setenv("FOUND", "4f2a")
        monkeypatch.setenv("PIDS", "")
        with pytest.raises(UnmeasuredError, match=r"^container 4f2a: expected processes, found none$"):
            memory_of("compose:canary")
        asked = "ps --quiet --filter=label=com.docker.compose.service=canary"
        more = f" --filter=label=com.docker.compose.project={project}" if project else ""
        assert (engine.parent / "ps").read_text(encoding="utf-8") == f"{asked}{more}\n"

    @pytest.mark.parametrize("found", ["", "4f2a\n5b1c"])
    def test_a_service_with_none_or_several_containers_is_not_guessed(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch, found: str
    ) -> None:
        monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
        monkeypatch.setenv("FOUND", found)
        with pytest.raises(
            UnmeasuredError, match=rf"^service canary: expected one container, found {len(found.split())}; "
        ):
            memory_of("compose:canary")
