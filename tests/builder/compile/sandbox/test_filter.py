"""System calls that the confined process cannot make, and controls that can."""

from __future__ import annotations

import errno
import platform
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.confined_code import Workplace, run_code
from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.filter import program
from thoth_models_builder.compile.sandbox.system_calls import ALLOWED, CONDITIONAL, PRETENDED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping

KILLED, ALLOWED_ACTION, ERROR = 0x80000000, 0x7FFF0000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OWN = 4321


def decision(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Interpret the program as the kernel does, and return what it decides."""
    code = program(machine, OWN)
    steps = [struct.unpack_from("=HBBI", code, place) for place in range(0, len(code), 8)]
    values = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *values)
    register, place = 0, 0
    while True:
        operation, if_true, if_false, value = steps[place]
        place += 1
        if operation == 0x06:
            return int(value)
        if operation == 0x20:
            (register,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:
            register &= value
        else:
            is_true = {0x15: register == value, 0x35: register >= value, 0x45: bool(register & value)}[operation]
            place += if_true if is_true else if_false


@pytest.mark.hostile
@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_each_call_is_decided_as_listed_and_all_others_are_unknown(machine: str) -> None:
    listed: dict[int, int] = {}
    tables: tuple[tuple[Mapping[str, int], int], ...] = (
        (ALLOWED[machine], ALLOWED_ACTION),
        (PRETENDED[machine], ERROR),
        (REFUSED[machine], ERROR | errno.EPERM),
    )
    for numbers, action in tables:
        listed |= dict.fromkeys(numbers.values(), action)
    conditional = set(CONDITIONAL[machine].values())
    for number in range(600):
        if number not in conditional:
            assert decision(machine, number) == listed.get(number, ERROR | errno.ENOSYS), number


@pytest.mark.hostile
@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_calls_of_another_architecture_kill(machine: str) -> None:
    other = next(value for name, value in ARCHITECTURES.items() if name != machine)
    assert decision(machine, ALLOWED[machine]["read"], architecture=other) == KILLED
    assert decision(machine, 0x40000000 | ALLOWED[machine]["read"]) == KILLED


@pytest.mark.hostile
@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize(
    ("call", "arguments", "is_allowed"),
    [
        pytest.param("clone", (0x3D0F00,), True, id="thread"),
        pytest.param("clone", (17,), False, id="process"),
        pytest.param("clone", (0x10000000 | 0x10000,), False, id="user namespace"),
        pytest.param("kill", (OWN, 9), True, id="own signal"),
        pytest.param("kill", (1, 9), False, id="another's signal"),
        pytest.param("kill", (0xFFFFFFFF, 9), False, id="signal to all"),
        pytest.param("tgkill", (OWN, 5, 9), True, id="own thread"),
        pytest.param("tgkill", (OWN + 1, 5, 9), False, id="another's thread"),
        pytest.param("fcntl", (3, 3), True, id="flags"),
        pytest.param("fcntl", (3, 8), False, id="owner of signals"),
        pytest.param("ioctl", (1, 0x5401), True, id="is a terminal"),
        pytest.param("ioctl", (1, 0x5412), False, id="type into a terminal"),
        pytest.param("openat", (0, 0, 0o1), True, id="write"),
        pytest.param("openat", (0, 0, 0o1000), False, id="truncate without writing"),
        pytest.param("openat", (0, 0, 0o1001), True, id="truncate"),
        pytest.param("prctl", (15,), True, id="name"),
        pytest.param("prctl", (1, 0), False, id="parent's death"),
        pytest.param("prlimit64", (0, 9, 0), True, id="read a limit"),
        pytest.param("prlimit64", (0, 9, 1), False, id="set a limit"),
        pytest.param("prlimit64", (0, 9, 1 << 32), False, id="set a limit from high memory"),
    ],
)
def test_a_system_call_is_decided_by_its_arguments_too(
    machine: str,
    call: str,
    arguments: tuple[int, ...],
    is_allowed: bool,  # noqa: FBT001
) -> None:
    assert (decision(machine, CONDITIONAL[machine][call], *arguments) == ALLOWED_ACTION) is is_allowed


def test_another_machine_is_refused_by_name() -> None:
    with pytest.raises(SandboxError, match=r"expected one of the machines aarch64, x86_64, .* found riscv64"):
        program("riscv64", OWN)


CONNECT = """
import socket
with socket.create_connection(("127.0.0.1", {port}), timeout=5) as connection:
    connection.sendall(b"stolen")
"""


@pytest.mark.hostile
def test_code_that_connects_reaches_nothing(place: Workplace) -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        code = CONNECT.format(port=listener.getsockname()[1])

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(100))

        thread = threading.Thread(target=accept)
        thread.start()
        found = run_code(place, code)
        assert found.error == "the confined process failed; its error is above"
        assert "PermissionError: [Errno 1] Operation not permitted" in found.output
        assert received == []
        # The control: the same code without the sandbox is the first to be heard.
        assert run_code(place, code, confined=False).error is None
        thread.join(30)
    assert received == [b"stolen"]


REACHING_OUTSIDE = (
    "os.fork()",
    "os.execv('/bin/true', ['true'])",
    "subprocess.run(['/bin/true'])",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.kill(parent, 9)",
    "os.killpg(0, 9)",
    "os.symlink('/etc/shadow', scratch / 'link')",
    "os.link(made, scratch / 'again')",
    "os.mkfifo(scratch / 'pipe')",
    "socket.socketpair()",
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "os.setsid()",
    "os.memfd_create('x')",
    "multiprocessing.Semaphore()",
    "SharedMemory(create=True, size=9)",
    "os.setxattr(made, 'user.x', b'x')",
    "os.chown(made, 0, 0)",
    "os.posix_fallocate(os.open(made, os.O_WRONLY), 0, 9)",
    "os.setpriority(os.PRIO_USER, 0, 19)",
)

TRY_EACH = """
import multiprocessing, os, resource, socket, subprocess
from multiprocessing.shared_memory import SharedMemory
made = scratch / "made"
made.touch()
for attempt in attempts:
    try:
        eval(attempt)
    except (PermissionError, ValueError) as error:
        assert "ermi" in str(error) or "not allowed" in str(error), (attempt, error)
    else:
        print("done:", attempt)
"""


@pytest.mark.hostile
def test_calls_that_reach_outside_are_refused(place: Workplace) -> None:
    found = run_code(place, f"attempts = {REACHING_OUTSIDE!r}{TRY_EACH}")
    assert (found.error, found.output) == (None, "taken []")


@pytest.mark.hostile
@pytest.mark.skipif(platform.machine() != "x86_64", reason="32-bit calls exist on x86-64")
def test_a_call_through_the_old_door_kills(place: Workplace) -> None:
    # mov eax, 20 (getpid of i386); int 0x80; ret
    code = """
import ctypes, mmap
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex("b814000000cd80c3"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
"""
    found = run_code(place, code)
    assert found.error is not None
    assert "SIGSYS" in found.error or "SIGSEGV" in found.error  # the second where the kernel has no 32-bit calls
