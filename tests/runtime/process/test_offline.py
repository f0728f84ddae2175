from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import types
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from thoth_models.errors import EnvironmentFault, OfflineViolation
from thoth_models.process import offline
from thoth_models.process.offline import assert_offline, enforce_offline, network_guard, offline_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Address = tuple[str, int]

HUB_CONSTANTS = "huggingface_hub.constants"
VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")


@pytest.fixture
def listening() -> Iterator[Address]:
    """An address on this machine where a connection would succeed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[:2]


@pytest.fixture
def unused_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported the Hub library, and whose switch is unset."""
    monkeypatch.delitem(sys.modules, HUB_CONSTANTS, raising=False)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def connect(address: Address) -> str:
    socket.create_connection(address, timeout=5).close()
    return "connected"


# --- the switch ---


@pytest.mark.usefixtures("unused_hub")
def test_the_switch_is_set_for_libraries_that_are_imported_later() -> None:
    assert_offline()
    enforce_offline()
    assert {name: os.environ[name] for name in VARIABLES} == dict.fromkeys(VARIABLES, "1")
    assert_offline()
    assert offline_state() == {**dict.fromkeys(VARIABLES, "1"), HUB_CONSTANTS: "not imported"}


@pytest.mark.hostile
@pytest.mark.usefixtures("unused_hub")
def test_the_switch_is_forced_on_a_library_that_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    constants: Any = types.ModuleType(HUB_CONSTANTS)
    constants.HF_HUB_OFFLINE = False
    monkeypatch.setitem(sys.modules, HUB_CONSTANTS, constants)
    assert offline_state() == {**dict.fromkeys(VARIABLES, "not set"), HUB_CONSTANTS: "False"}
    with pytest.raises(
        OfflineViolation, match=r"expected huggingface_hub\.constants\.HF_HUB_OFFLINE to be True, found"
    ):
        assert_offline()
    enforce_offline()
    assert constants.HF_HUB_OFFLINE is True
    assert_offline()
    assert offline_state()[HUB_CONSTANTS] == "True"


@pytest.mark.parametrize("value", [False, "1", None, 1])
def test_only_true_counts_as_offline(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    constants: Any = types.ModuleType(HUB_CONSTANTS)
    constants.HF_HUB_OFFLINE = value
    monkeypatch.setitem(sys.modules, HUB_CONSTANTS, constants)
    with pytest.raises(OfflineViolation):
        assert_offline()
    del constants.HF_HUB_OFFLINE
    with pytest.raises(OfflineViolation, match="found 'nothing'"):
        assert_offline()


def test_an_older_transformers_has_a_copy_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    hub: Any = types.ModuleType("transformers.utils.hub")
    monkeypatch.setitem(sys.modules, "transformers.utils.hub", hub)
    enforce_offline()
    assert not hasattr(hub, "_is_offline_mode")  # from release 5 on there is none
    hub._is_offline_mode = False
    enforce_offline()
    assert hub._is_offline_mode is True


@pytest.mark.usefixtures("unused_hub")
def test_an_onnxruntime_that_calls_home_already(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    onnxruntime: Any = types.ModuleType("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    enforce_offline()  # an older one, without telemetry
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    onnxruntime.disable_telemetry_events = lambda: calls.append("disabled")
    with caplog.at_level("WARNING", "thoth_models"):
        enforce_offline()
    assert calls == ["disabled"]
    assert "Set ORT_DISABLE_TELEMETRY=1 in the environment of the process" in caplog.text
    enforce_offline()  # set by now, so that it was set when it was imported, as far as can be known
    assert calls == ["disabled"]


# --- the guard ---


def send_message(address: Address) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendmsg([b"x"], [], 0, address)


def send_to(address: Address) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", address)


def connect_ex(address: Address) -> None:
    with socket.socket() as client:
        client.connect_ex(address)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("access", "event"),
    [
        (connect, "socket.getaddrinfo"),
        (connect_ex, "socket.connect"),
        (send_message, "socket.sendmsg"),
        (send_to, "socket.sendto"),
        (lambda address: socket.getaddrinfo(*address), "socket.getaddrinfo"),
        (lambda _: socket.gethostbyname("localhost"), "socket.gethostbyname"),
        (lambda _: socket.gethostbyname_ex("localhost"), "socket.gethostbyname"),
        (lambda _: socket.gethostbyaddr("127.0.0.1"), "socket.gethostbyaddr"),
        (lambda address: socket.getnameinfo(address, socket.NI_NUMERICHOST), "socket.getnameinfo"),
        (lambda address: urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/", timeout=5), "socket.getaddrinfo"),
    ],
)
def test_every_network_access_during_a_load_is_refused(
    listening: Address, access: Callable[[Address], object], event: str
) -> None:
    with pytest.raises(OfflineViolation, match=event) as caught, network_guard() as guard:
        access(listening)
    assert isinstance(caught.value, EnvironmentFault)
    assert [violation.partition("(")[0] for violation in guard.violations] == [event]


def test_the_message_names_the_target(listening: Address) -> None:
    with pytest.raises(OfflineViolation) as caught, network_guard(), socket.socket() as client:
        client.connect(listening)
    assert str(caught.value) == f"network access while a model was being loaded: socket.connect({listening!r})"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("start", "event"),
    [
        (lambda: subprocess.run([sys.executable, "--version"], check=False), f"subprocess.Popen({sys.executable!r})"),
        (lambda: subprocess.run(["sh", "-c", "curl --version"], check=False), "subprocess.Popen('sh')"),
        (lambda: os.system("curl --version"), "os.system('curl')"),  # noqa: S605 - it is refused
        (lambda: subprocess.run(["/tmp/uname"], check=False), "subprocess.Popen('/tmp/uname')"),  # noqa: S108 - not there
        (lambda: os.posix_spawn("/bin/true", ["true"], {}), "os.posix_spawn('/bin/true')"),
        (lambda: os.execv("/bin/true", ["true"]), "os.exec('/bin/true')"),  # noqa: S606 - it is refused
    ],
)
def test_a_load_that_starts_another_program_is_refused(start: Callable[[], object], event: str) -> None:
    """They are out of the reach of the hook. Their arguments, which may hold secrets, are not shown."""
    with pytest.raises(OfflineViolation) as caught, network_guard():
        start()
    assert str(caught.value).startswith(f"another program while a model was being loaded: {event}")
    assert "--version" not in str(caught.value)


@pytest.mark.parametrize("program", ["uname", b"uname", "/bin/uname"])
def test_programs_that_only_ask_about_the_machine_run(program: str | bytes) -> None:
    with network_guard() as guard:
        assert subprocess.run([program], capture_output=True, check=True).stdout
    assert guard.violations == []


@pytest.mark.hostile
def test_a_shell_that_calls_itself_uname_is_refused() -> None:
    """The name is that of the file that is run, not the one that the program is told."""
    with pytest.raises(OfflineViolation), network_guard():
        subprocess.run(["uname", "-c", "true"], executable="/bin/sh", check=False)


def test_both_kinds_are_named(listening: Address) -> None:
    with pytest.raises(OfflineViolation, match=r"^network access and another program while"), network_guard():  # noqa: PT012
        with contextlib.suppress(OfflineViolation):
            connect(listening)
        os.system("true")  # noqa: S605 - it is refused


@pytest.mark.hostile
def test_nothing_reaches_the_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(OfflineViolation), network_guard(), socket.socket() as client:
            client.connect(server.getsockname())
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.hostile
def test_a_library_that_swallows_the_error_does_not_get_away(listening: Address) -> None:
    went_on = []

    def swallow(_: int) -> None:
        with contextlib.suppress(Exception):
            connect(listening)
        went_on.append(True)

    with pytest.raises(OfflineViolation, match="getaddrinfo") as caught, network_guard():
        deque(map(swallow, range(2)))
    assert went_on == [True, True]
    assert str(caught.value).count("getaddrinfo") == 2


@pytest.mark.hostile
def test_a_library_that_makes_another_error_of_it_does_not_get_away(listening: Address) -> None:
    def wrap() -> None:
        try:
            connect(listening)
        except OfflineViolation as error:
            raise OSError("we could not connect, and the model is not in the cache") from error

    with pytest.raises(OfflineViolation, match="getaddrinfo") as caught, network_guard():
        wrap()
    assert isinstance(caught.value.__cause__, OSError)


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), network_guard():
        raise ZeroDivisionError


@pytest.mark.hostile
def test_a_thread_that_a_load_starts_is_guarded(listening: Address) -> None:
    def attempt(work: Callable[[], object]) -> None:
        with contextlib.suppress(OfflineViolation):
            work()

    def in_thread(work: Callable[[], object]) -> None:
        thread = threading.Thread(target=attempt, args=(work,))
        thread.start()
        thread.join()

    for work in (lambda: connect(listening), lambda: in_thread(lambda: connect(listening))):
        with pytest.raises(OfflineViolation, match="getaddrinfo"), network_guard():
            in_thread(work)


@pytest.mark.hostile
def test_a_pool_of_threads_that_a_load_makes_is_guarded(listening: Address) -> None:
    with pytest.raises(OfflineViolation), network_guard(), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(connect, listening).exception(), OfflineViolation)


def test_an_unrelated_thread_is_left_alone(listening: Address) -> None:
    begin = threading.Event()
    results: list[str] = []

    def later() -> None:
        begin.wait(10)
        results.append(connect(listening))

    thread = threading.Thread(target=later)
    thread.start()
    with network_guard() as guard:
        begin.set()
        thread.join(10)
    assert results == ["connected"]
    assert guard.violations == []


def test_an_unrelated_thread_may_start_threads_meanwhile(listening: Address) -> None:
    begin = threading.Event()
    results: list[str] = []

    def later() -> None:
        begin.wait(10)
        inner = threading.Thread(target=lambda: results.append(connect(listening)))
        inner.start()
        inner.join()

    thread = threading.Thread(target=later)
    thread.start()
    with network_guard():
        begin.set()
        thread.join(10)
    assert results == ["connected"]


def test_outside_the_context_nothing_is_refused(listening: Address) -> None:
    with network_guard():
        wrapped = threading.Thread.start is not offline._original_start
        with network_guard():
            pass
        assert (threading.Thread.start is not offline._original_start) is wrapped
    # From 3.12 on, nothing has to be wrapped.
    assert wrapped is (sys.version_info < (3, 12))
    assert threading.Thread.start is offline._original_start
    connect(listening)


def test_a_thread_that_outlives_the_context_is_free(listening: Address) -> None:
    begin = threading.Event()
    results: list[str] = []

    def later() -> None:
        begin.wait(10)
        results.append(connect(listening))

    with network_guard():
        thread = threading.Thread(target=later)
        thread.start()
    begin.set()
    thread.join(10)
    assert results == ["connected"]


def test_guards_nest(listening: Address) -> None:
    with network_guard(), pytest.raises(OfflineViolation), network_guard():
        connect(listening)
    with network_guard() as outer:
        with network_guard():
            pass
        with pytest.raises(OfflineViolation):
            connect(listening)
        outer.violations.clear()


def test_unix_sockets_stay_on_the_machine(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a Unix socket has room for about 100 characters
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with first, second, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server, network_guard() as guard:
        server.bind("server")
        first.sendmsg([b"x"])
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", "server")
            client.sendmsg([b"x"], [], 0, "server")
            client.connect("server")
    assert guard.violations == []


def test_the_hook_is_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[object] = []
    monkeypatch.setattr(sys, "addaudithook", added.append)
    monkeypatch.setattr(offline, "_hook_installed", False)
    with network_guard(), network_guard():
        pass
    assert added == [offline._hook]


def test_the_hook_hands_the_guard_over_where_starting_a_thread_is_an_event() -> None:
    thread = threading.Thread(target=print)
    with network_guard() as guard:
        # From 3.12 on the interpreter raises these; the arguments differ between versions.
        offline._hook("_thread.start_new_thread", (thread._bootstrap, (), None))  # type: ignore[attr-defined]
        assert offline._inherited[thread] is guard
        offline._hook("_thread.start_new_thread", (print, (), None))
        offline._hook("_thread.start_joinable_thread", ())
    offline._hook("_thread.start_joinable_thread", (thread._bootstrap, 1, None))  # type: ignore[attr-defined]


def test_the_hook_itself() -> None:
    # The interpreter turns tracing off while it runs an audit hook, so only a direct call can be measured.
    address = ("192.0.2.1", 80)
    offline._hook("socket.connect", (object(), address))
    with socket.socket(socket.AF_UNIX) as local, network_guard() as guard:
        offline._hook("socket.connect", (local, "path"))
        offline._hook("open", ("file", "r", 0))
        for event, arguments in (("socket.connect", (object(), address)), ("socket.getaddrinfo", address)):
            with pytest.raises(OfflineViolation, match=r"192\.0\.2\.1"):
                offline._hook(event, arguments)
        assert len(guard.violations) == 2
        guard.violations.clear()
        guard.active = False
        offline._hook("socket.connect", (object(), address))
        assert guard.violations == []
