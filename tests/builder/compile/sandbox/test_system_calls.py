"""The tables of system calls: complete for what they are to protect from, and without contradictions."""

from __future__ import annotations

import ctypes
import os
import platform

import pytest

from thoth_models_builder.compile.sandbox.system_calls import ALLOWED, CONDITIONAL, PRETENDED, REFUSED

TABLES = (ALLOWED, CONDITIONAL, PRETENDED, REFUSED)
DANGEROUS = {
    *("socket", "connect", "execve", "ptrace", "process_vm_writev", "bpf", "keyctl", "mount", "unshare", "setns"),
    *("userfaultfd", "perf_event_open", "linkat", "symlinkat", "mknodat", "shmget", "mq_open", "io_uring_setup"),
    *("clone3", "openat2", "pidfd_send_signal", "seccomp", "fork", "vfork", "setxattr", "chown", "truncate"),
}


@pytest.mark.hostile
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_system_call_is_in_one_table_and_nothing_dangerous_is_allowed(machine: str) -> None:
    numbers = [number for table in TABLES for number in table[machine].values()]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) > 200
    allowed = ALLOWED[machine].keys() | CONDITIONAL[machine].keys() | PRETENDED[machine].keys()
    assert DANGEROUS.isdisjoint(allowed)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the numbers are of these machines")
def test_numbers_are_those_of_this_kernel() -> None:
    libc = ctypes.CDLL(None)
    calls = {"getpid": os.getpid(), "getppid": os.getppid(), "getuid": os.getuid(), "getgid": os.getgid()}
    machine = platform.machine()
    assert {name: libc.syscall(ALLOWED[machine][name]) for name in calls} == calls
