from __future__ import annotations

import os
import subprocess
import sys

from bench.peaks import Peak, below, parents, proportional

PARENTS = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}

_GRANDCHILD = "import sys; data = bytearray(b'x') * 60_000_000; print(len(data), flush=True); sys.stdin.read()"
_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_GRANDCHILD!r}])"


def test_children_and_their_children_are_below() -> None:
    assert below(10, PARENTS) == [11, 12, 13]
    assert below(21, PARENTS) == []
    assert below(99, PARENTS) == []


def test_this_process_has_a_parent() -> None:
    assert parents()[os.getpid()] == os.getppid()


def test_the_memory_of_a_process_that_has_ended_is_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert proportional(process.pid) == 0


def test_what_a_grandchild_has_counts() -> None:
    command = [sys.executable, "-c", _CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with Peak(os.getpid()) as peak:
            assert process.stdout.readline() == b"60000000\n"
            for _ in range(1000):
                if peak.most > 60_000_000:
                    break
                process.poll()
                peak._ended.wait(0.01)
        process.stdin.close()
        process.wait(30)
    assert 60_000_000 < peak.most < 2_000_000_000
