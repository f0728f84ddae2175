"""The offline switch, and a guard that makes any network access during loading an error.

There are two layers, because neither is enough alone. The switch tells the Hub libraries not to connect. It must be set
before ``huggingface_hub.constants`` is first imported; if that was imported before, the switch is set in the module.
The guard is a Python audit hook (https://docs.python.org/3/library/audit_events.html). While a model is being loaded,
it refuses every connection and name lookup of the loading thread, and of threads started from it, and every other
program that they would run, because that is out of its reach. Code that opens sockets without Python's ``socket``
module raises no audit event; for such code there is only the switch.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from thoth_models.errors import OfflineViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

_SWITCHES: Final = {
    # Read when huggingface_hub.constants is first imported; every release reads "1" as true.
    "HF_HUB_OFFLINE": "1",
    # Read by transformers, and by huggingface_hub if the first is empty.
    "TRANSFORMERS_OFFLINE": "1",
    # Keeps the client from collecting data about its environment for request headers.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Read when onnxruntime is first imported. Without it, official builds look up and call a server of Microsoft from
    # their own thread, and store a device id and a database in the user's cache directory; a child of fork hangs at its
    # end, waiting for that thread (onnxruntime's docs/Privacy.md).
    "ORT_DISABLE_TELEMETRY": "1",
}
_HUB_CONSTANTS = "huggingface_hub.constants"
_OLD_TRANSFORMERS_HUB = "transformers.utils.hub"

_NETWORK_EVENTS: Final = frozenset(
    {
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.getnameinfo",
        "socket.sendmsg",
        "socket.sendto",
    }
)
_PROGRAM_EVENTS: Final = frozenset({"os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})
"""Not ``os.fork``: the child has the hook and the guard as well."""
_HARMLESS: Final = frozenset({"getconf", "ldconfig", "lscpu", "sysctl", "uname"})
"""Programs that libraries ask about the machine while they are imported; by name alone, or in these directories."""
_SYSTEM: Final = ("", "/bin", "/sbin", "/usr/bin", "/usr/sbin")
_THREAD_EVENTS: Final = frozenset({"_thread.start_new_thread", "_thread.start_joinable_thread"})


def enforce_offline() -> None:
    """Set the offline switch for the whole process, permanently, whatever was imported before.

    Call it before importing a library, and :func:`assert_offline` afterwards. Each load calls it, so that a variable
    that was unset meanwhile is set again.
    """
    was_set = os.environ.get("ORT_DISABLE_TELEMETRY") == _SWITCHES["ORT_DISABLE_TELEMETRY"]
    os.environ.update(_SWITCHES)
    # For modules that were imported before the switch was set: their functions read these globals at each call.
    for module, attribute in ((_HUB_CONSTANTS, "HF_HUB_OFFLINE"), (_OLD_TRANSFORMERS_HUB, "_is_offline_mode")):
        imported = sys.modules.get(module)
        # Before release 5, transformers has its own copy.
        if imported is not None and (module == _HUB_CONSTANTS or hasattr(imported, attribute)):
            setattr(imported, attribute, True)
    onnxruntime = sys.modules.get("onnxruntime")
    if onnxruntime is not None and not was_set and hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
        _log.warning(
            "onnxruntime was imported before ORT_DISABLE_TELEMETRY was set, so it may have sent telemetry; "
            "its events are disabled now. Set ORT_DISABLE_TELEMETRY=1 in the environment of the process"
        )


def assert_offline() -> None:
    """Check that the switch is effective.

    Raises:
        OfflineViolation: A Hub library is imported and is not in offline mode.
    """
    constants = sys.modules.get(_HUB_CONSTANTS)
    if constants is not None and getattr(constants, "HF_HUB_OFFLINE", None) is not True:
        found = getattr(constants, "HF_HUB_OFFLINE", "nothing")
        raise OfflineViolation(f"expected {_HUB_CONSTANTS}.HF_HUB_OFFLINE to be True, found {found!r}")


def offline_state() -> dict[str, str]:
    """Return the switch's environment variables, and the resulting setting of the Hub library."""
    state = {name: os.environ.get(name, "not set") for name in _SWITCHES}
    constants = sys.modules.get(_HUB_CONSTANTS)
    state[_HUB_CONSTANTS] = "not imported" if constants is None else str(getattr(constants, "HF_HUB_OFFLINE", None))
    return state


class NetworkGuard:
    """One guarded block.

    Attributes:
        violations: The refused accesses, in order. They are stored, because a library may catch the exception.
    """

    def __init__(self) -> None:
        self.active = True
        self.violations: list[str] = []

    def check(self, event: str, arguments: tuple[object, ...]) -> None:
        """Refuse the network access of an audit event, or the start of a program.

        Raises:
            OfflineViolation: The guard is active, and the access is not to a Unix socket, or the program is not one
                that only asks about the machine.
        """
        if not self.active or _is_local(event, arguments) or _is_harmless(event, arguments):
            return
        if event in _PROGRAM_EVENTS:
            # Its arguments and environment may hold secrets.
            arguments = (_program_of(arguments[0]),)
        what = f"{event}({', '.join(repr(argument) for argument in arguments if not hasattr(argument, 'fileno'))})"
        self.violations.append(what)
        raise self.violation()

    def violation(self) -> OfflineViolation:
        """Return the error that lists all attempted accesses."""
        is_program = [violation.partition("(")[0] in _PROGRAM_EVENTS for violation in self.violations]
        what = " and ".join(["network access"] * (not all(is_program)) + ["another program"] * any(is_program))
        return OfflineViolation(f"{what} while a model was being loaded: {'; '.join(self.violations)}")


_current: ContextVar[NetworkGuard | None] = ContextVar("thoth_models_network_guard", default=None)
# A new thread starts with an empty context, so the thread object passes the guard on.
_inherited: WeakKeyDictionary[threading.Thread, NetworkGuard] = WeakKeyDictionary()
_hook_lock = threading.Lock()
_hook_installed = False


@contextmanager
def network_guard() -> Iterator[NetworkGuard]:
    """Refuse network access and other programs in this context, and in threads that it starts, until the block ends.

    Raises:
        OfflineViolation: Access was attempted, even if the library caught the exception and continued.
    """
    _install_hook()
    guard = NetworkGuard()
    token = _current.set(guard)
    try:
        with _thread_starts_seen():
            yield guard
    except Exception as error:
        # A library may have replaced the violation by its own, less specific error.
        if guard.violations and not isinstance(error, OfflineViolation):
            raise guard.violation() from error
        raise
    finally:
        guard.active = False
        _current.reset(token)
    if guard.violations:
        raise guard.violation()


def _install_hook() -> None:
    """Add the audit hook once. It cannot be removed, so it does nothing outside of a guarded context."""
    global _hook_installed  # noqa: PLW0603 - an audit hook is process-wide by nature
    with _hook_lock:
        if not _hook_installed:
            sys.addaudithook(_hook)
            _hook_installed = True


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in _NETWORK_EVENTS or event in _PROGRAM_EVENTS:
        if guard := _guard_of_this_thread():
            guard.check(event, arguments)
    elif event in _THREAD_EVENTS and (guard := _guard_of_this_thread()):
        # The function that is about to run is a bound method of the thread object.
        thread = getattr(arguments[0], "__self__", None) if arguments else None
        if isinstance(thread, threading.Thread):
            _inherited[thread] = guard


_patch_lock = threading.Lock()
_patch_users = 0
_original_start = threading.Thread.start


def _start_guarded(thread: threading.Thread) -> None:
    if guard := _guard_of_this_thread():
        _inherited[thread] = guard
    _original_start(thread)


@contextmanager
def _thread_starts_seen() -> Iterator[None]:
    """Guard threads that are started from guarded ones, on Python 3.11 too.

    From 3.12 on, starting a thread raises an audit event. On 3.11 it does not, so ``Thread.start`` is wrapped while any
    guard is active; for threads without a guard the wrapper changes nothing.
    """
    global _patch_users  # noqa: PLW0603 - counts the guards that are active in this process
    if sys.version_info >= (3, 12):
        yield
        return
    with _patch_lock:
        _patch_users += 1
        threading.Thread.start = _start_guarded  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        with _patch_lock:
            _patch_users = max(0, _patch_users - 1)
            if not _patch_users:
                threading.Thread.start = _original_start  # type: ignore[method-assign]


def _after_fork_in_child() -> None:
    """Drop the guards of the parent's other threads, and the locks that they may have held."""
    global _hook_lock, _patch_lock, _patch_users  # noqa: PLW0603 - state of the child from now on
    _hook_lock, _patch_lock = threading.Lock(), threading.Lock()
    if _guard_of_this_thread() is None:
        _patch_users = 0
        threading.Thread.start = _original_start  # type: ignore[method-assign]
    else:
        _patch_users = min(1, _patch_users)  # the process was forked in a guarded block, which continues here


os.register_at_fork(after_in_child=_after_fork_in_child)


def _guard_of_this_thread() -> NetworkGuard | None:
    if guard := _current.get():
        return guard
    # Not current_thread(), which creates a dummy entry for threads that threading did not start.
    thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]  # noqa: SLF001
    return None if thread is None else _inherited.get(thread)


def _program_of(stated: object) -> str:
    """Return the program that an audit event states: a path, or the first word of a command line."""
    text = os.fsdecode(stated) if isinstance(stated, str | bytes | os.PathLike) else repr(stated)
    return next(iter(text.split()), "")


def _is_harmless(event: str, arguments: tuple[object, ...]) -> bool:
    """Return whether an event is the start of a program that only asks about the machine."""
    if event not in ("os.posix_spawn", "subprocess.Popen") or not arguments:
        return False
    directory, _, name = _program_of(arguments[0]).rpartition("/")
    return name in _HARMLESS and directory in _SYSTEM


def _is_local(event: str, arguments: tuple[object, ...]) -> bool:
    """Return whether an access is to a Unix socket, by its family, because a connected socket has no address."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        import socket  # noqa: PLC0415 - the code that raises this event has imported it

        return bool(arguments) and getattr(arguments[0], "family", None) == socket.AF_UNIX
    return False
