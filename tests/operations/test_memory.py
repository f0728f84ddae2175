from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gates.memory import Memory, judge_memory, memory_of
from gates.verdict import BEYOND, UNMEASURED, WITHIN, UnmeasuredError
from tests.operations.gating import figures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

HOLD = "held = b'x' * ({size} << 20); print('ready', flush=True); input()"
MAP = """
import mmap
with open({file!r}, "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(mapped[::4096])
"""
WITH_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"


def holding(size: int, *, in_child: bool = False) -> AbstractContextManager[str]:
    """Run a process that holds so many MiB, itself or by a child, and return it as a place."""
    return running([*([WITH_CHILD] if in_child else []), HOLD.format(size=size)])


def mapping(file: Path, *, in_child: bool = False) -> AbstractContextManager[str]:
    """Run a process that maps a file and reads all of it; with a child that does the same, where one is asked for."""
    mapped, held = MAP.format(file=str(file)), HOLD.format(size=0)
    return running([mapped + WITH_CHILD, mapped + held] if in_child else [mapped + held])


@contextmanager
def running(code: list[str]) -> Iterator[str]:
    command = [sys.executable, "-c", *code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"pid:{process.pid}"
        process.communicate("\n", timeout=30)


def own(*sizes: int) -> list[Memory]:
    return [Memory(size, 0) for size in sizes]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (own(100), own(150), WITHIN),
        (own(100), own(151), BEYOND),
        (own(100, 200), own(225, 225), WITHIN),
        (own(100, 200), own(400, 60), BEYOND),
        # Weights that are copied, where they were mapped: as much as before, but no longer shared.
        ([Memory(100, 400)], [Memory(500, 0)], BEYOND),
        # Larger weights, which need more memory of the machine.
        ([Memory(100, 400)], [Memory(100, 651)], BEYOND),
        ([Memory(100, 400)], [Memory(100, 650)], WITHIN),
    ],
)
def test_half_as_much_again_is_allowed_on_average(old: list[Memory], new: list[Memory], code: int) -> None:
    assert judge_memory(old, new, 0.5).code == code


def test_growth_of_real_processes_is_seen() -> None:
    with holding(40) as old, holding(120) as new:
        assert 40 << 20 < memory_of(old).own < 80 << 20
        code, printed = figures("memory", "--old", old, "--new", new)
        assert code == BEYOND, printed
        assert figures("memory", "--old", old, "--new", old)[0] == WITHIN
        assert figures("memory", "--old", new, "--new", old)[0] == WITHIN


def test_children_count() -> None:
    with holding(40, in_child=True) as parent:
        assert memory_of(parent).own > 40 << 20


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (file := tmp_path / "weights").write_bytes(b"x" * (40 << 20))
    return file


def test_a_mapped_file_counts_as_a_whole_however_many_map_it(weights: Path) -> None:
    """Or the last release that maps its own file looks larger than two that share theirs."""
    with mapping(weights) as one:
        alone = memory_of(one)
        with mapping(weights), mapping(weights):
            shared = memory_of(one)
    assert 40 << 20 < alone.files < 80 << 20
    assert alone.files == pytest.approx(shared.files, abs=4 << 20)
    assert alone.own < 40 << 20


def test_processes_of_one_instance_count_their_file_once(weights: Path) -> None:
    with mapping(weights, in_child=True) as several:
        assert 40 << 20 < memory_of(several).files < 80 << 20


def test_pages_of_a_file_that_were_written_to_are_memory_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gates import memory

    mappings = [
        "7f00-7f10 rw-p 00001000 fe:00 12   /usr/lib/a library.so\nRss:    10 kB\nAnonymous:    4 kB\nVmFlags: rd wr",
        "7f10-7f20 r--p 00002000 fe:00 12   /usr/lib/a library.so\nRss:    20 kB\nAnonymous:    0 kB",
        "7f20-7f30 rw-p 00000000 00:00 0    [heap]\nRss:    300 kB\nAnonymous:    300 kB",
    ]
    (process := tmp_path / "7").mkdir()
    (process / "stat").write_text("7 (a name) S 1 0\n", encoding="utf-8")
    (process / "smaps").write_text("\n".join(mappings), encoding="utf-8")
    (process / "smaps_rollup").write_text("Pss:  330 kB\nPss_Anon:   304 kB\n", encoding="utf-8")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory_of("pid:7") == Memory(304 * 1024, 26 * 1024)


def test_a_kernel_without_the_figure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gates import memory

    (process := tmp_path / "7").mkdir()
    (process / "smaps_rollup").write_text("Pss:  330 kB\n", encoding="utf-8")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    with pytest.raises(
        UnmeasuredError, match=r"^process 7: expected its Pss_Anon \(Linux 5.4 and newer\), found \['Pss'\]"
    ):
        memory_of("pid:7")


def test_a_recorded_figure_takes_the_place_of_a_release_that_is_gone() -> None:
    with holding(40) as new:
        code, printed = figures("memory", "--old", f"bytes:{20 << 20}+{500 << 20}", "--new", new)
        assert code == BEYOND
        assert figures("memory", "--old", f"bytes:{200 << 20}+0", "--new", new)[0] == WITHIN
        # What was printed is what can be given.
        assert figures("memory", "--old", printed["new"], "--new", printed["new"])[0] == WITHIN


def test_a_process_that_is_not_there_cannot_be_measured() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    code, printed = figures("memory", "--old", "bytes:1+0", "--new", f"pid:{ended.pid}")
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
            f"#!/bin/sh\ncase $1 in\ninspect) echo {self.IDENTITY} $FIRST;;\n"
            f'ps) echo "$*" >{tmp_path}/ps; echo "$FOUND";;\nesac\n',
            encoding="utf-8",
        )
        client.chmod(client.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("FIRST", "0")
        return client

    def test_processes_of_another_computer_are_not_taken_for_its_own(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With an engine elsewhere, the numbers that it gives are those of other processes here."""
        monkeypatch.setenv("FIRST", str(os.getpid()))
        with pytest.raises(UnmeasuredError, match=f"^container web: expected its process {os.getpid()} here, found"):
            memory_of("container:web")

    def test_all_processes_of_a_container_count_but_not_a_check_of_its_health(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The engine starts a check in the container too, as no child of the container's first process."""
        from gates import memory

        monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
        for pid, parent, size in ((7, 1, 100), (8, 7, 20), (9, 1, 5000)):
            (place := tmp_path / "proc" / str(pid)).mkdir(parents=True)
            (place / "cgroup").write_text(f"0::/docker/{self.IDENTITY}\n", encoding="utf-8")
            (place / "stat").write_text(f"{pid} (a name) S {parent} 0\n", encoding="utf-8")
            (place / "smaps_rollup").write_text(f"Pss:  9000 kB\nPss_Anon:  {size} kB\n", encoding="utf-8")
            (place / "smaps").write_text("", encoding="utf-8")
        monkeypatch.setenv("FIRST", "7")
        assert memory_of("container:web") == Memory(120 * 1024, 0)

    def test_an_engine_that_fails_is_quoted(self, engine: Path) -> None:
        engine.write_text("#!/bin/sh\necho no such container >&2; exit 1\n", encoding="utf-8")
        with pytest.raises(UnmeasuredError, match=r"^docker inspect: no such container$"):
            memory_of("container:web")

    def test_a_container_without_processes_is_not_measured(self, engine: Path) -> None:
        with pytest.raises(UnmeasuredError, match=r"^container web: expected processes, found none$"):
            memory_of("container:web")

    @pytest.mark.parametrize("project", ["", "shop"])
    def test_a_service_of_compose_is_found_by_its_labels(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch, project: str
    ) -> None:
        monkeypatch.setenv("COMPOSE_PROJECT_NAME", project)
        monkeypatch.setenv("FOUND", "4f2a")
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
