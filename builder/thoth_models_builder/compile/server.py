"""The compiler process: ``python -m thoth_models_builder.compile.server``, one for each build that compiles.

It imports torch and the other libraries once, which takes longer than compiling a small model, and then runs each step
of each model in a child of ``fork``. It never computes itself, so state of computing libraries, such as thread pools
and the choice of instructions, exists only in the children. If a child crashes, is killed for its memory or takes too
long, only its own model fails.

Requests are lines on what was standard input, events are lines on a pipe of their own; libraries and steps see an empty
input, and their output goes into logs. When the builder ends, for whatever reason, the requests hang up, and this
process and its children, which are one process group, end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeAlias

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.process.environment import available_memory, threads
from thoth_models.process.offline import assert_offline, enforce_offline, network_guard
from thoth_models_builder.compile.errors import ConfinedError
from thoth_models_builder.compile.sandbox.step import limits_for, run_step
from thoth_models_builder.compile.steps import Step, steps_of, use_native_arithmetic
from thoth_models_builder.spec.compile_job import (
    JOB_NAME,
    LOG_DIRECTORY,
    PLAIN_ARITHMETIC,
    CompileJob,
    Event,
    Request,
    log_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Steps: TypeAlias = "Callable[[CompileJob], tuple[Step, ...]]"

_MODULES: Final = (
    *("torch", "sentence_transformers", "thoth_models_builder.compile.reference"),
    *("thoth_models.backends.torch", "thoth_models.verification.verify", "thoth_models.embedding"),
)
_GRAPH_MODULES: Final = (
    *("torch.onnx", "torch.onnx.utils", "thoth_models_builder.compile.export", "thoth_models_builder.compile.quantize"),
    "thoth_models.backends.onnx",
)

_MEMORY_SHARE: Final = 0.8
_WEIGHTS_AT_ONCE: Final = 3.5
"""Memory limit for concurrent steps of one model, as a multiple of its weights."""
_SMALL_BYTES: Final = 1024 * 1024 * 1024
"""Memory that they may use in any case, in bytes."""
_FIXED_BYTES: Final = 512 * 1024 * 1024
"""Estimated memory of a step besides the weights, in bytes: allocations of libraries while they compute."""


@dataclass(eq=False)
class _Running:
    """A step that runs in a child."""

    step: Step
    started: float


@dataclass(eq=False)
class _Job:
    """A model that is being compiled."""

    name: str
    directory: Path
    weight_bytes: int
    waiting: list[Step]
    running: dict[int, _Running] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    failure: tuple[str, str] | None = None

    def ready(self) -> Step | None:
        """Return the step to start next; None if all steps have to wait, or there is not enough memory."""
        held = sum(one.step.weights for one in self.running.values())
        limit = max(_WEIGHTS_AT_ONCE * self.weight_bytes, _SMALL_BYTES)
        for step in self.waiting:
            fits = not self.running or (held + step.weights) * self.weight_bytes <= limit
            if step.needs <= self.done and fits:
                return step
        return None

    def bytes_with(self, step: Step | None) -> float:
        """Return the estimated memory of the model's children, with one more."""
        steps = [one.step for one in self.running.values()] + ([] if step is None else [step])
        return sum(one.weights * self.weight_bytes + _FIXED_BYTES for one in steps)


class _Machine(NamedTuple):
    """What a step has to know of the machine: the variables of native arithmetic, and the available memory in bytes."""

    native: Mapping[str, str]
    memory: int | None


class Server:
    """Runs the steps of jobs concurrently, as far as cores and memory allow.

    Args:
        streams: Descriptors to read requests from, and to write events to. Children have both open as well, so the
            stream of events ends when the last of them ends.
        cores: Maximum number of computing threads.
        memory: Available memory in bytes, or None if it is unknown.
        steps: Returns the steps of a job.
        native: Environment variables that replace those of plain arithmetic in steps that need not be plain.
    """

    def __init__(
        self,
        streams: tuple[int, int],
        cores: int,
        memory: int | None,
        *,
        steps: Steps = steps_of,
        native: Mapping[str, str] | None = None,
    ) -> None:
        self._requests, self._events = streams
        self._steps_of = steps
        self._native = native or {}
        self._cores = cores
        self._memory = memory
        self._jobs: dict[str, _Job] = {}
        self._threads: dict[int, int] = {}

    def serve(self) -> NoReturn:
        """Process requests until the builder hangs up, which ends the process."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(woken, select.POLLIN)
        pending = b""
        while True:
            for descriptor, _ in poll.poll():
                data = os.read(descriptor, 65536)
                if descriptor == woken:
                    self._reap()
                elif not data:
                    _end_all()
                else:
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self._accept(Request.from_line(line))
            self._begin_what_fits()

    def _accept(self, request: Request) -> None:
        if request.kind == "cancel":
            if (job := self._jobs.get(request.job)) is not None:
                self._fail(job, ", ".join(sorted(one.step.name for one in job.running.values())), "cancelled")
            return
        directory = Path(request.directory)
        try:
            steps = self._steps_of(CompileJob.from_bytes((directory / JOB_NAME).read_bytes()))
            (directory / LOG_DIRECTORY).mkdir()
        except (OSError, FormatError) as error:
            self._send(Event(kind="failed", job=request.job, step=JOB_NAME, reason=str(error)))
            return
        self._jobs[request.job] = _Job(request.job, directory, request.weight_bytes, list(steps))

    def _begin_what_fits(self) -> None:
        while (free := self._cores - sum(self._threads.values())) > 0:
            ready = [(job, step) for job in self._jobs.values() if job.failure is None and (step := job.ready())]
            fitting = [(job, step) for job, step in ready if self._fits(job, step)]
            if not fitting:
                return
            job, step = fitting[0]
            self._begin(job, step, max(1, free // len(fitting)) if step.uses_cores else 1)

    def _fits(self, job: _Job, step: Step) -> bool:
        running = [one.step for other in self._jobs.values() for one in other.running.values()]
        if step.confined and any(one.confined for one in running):
            return False  # each may use most of the memory
        others = [other for other in self._jobs.values() if other is not job and other.running]
        if self._memory is None or not (others or job.running):
            return True
        held = sum(other.bytes_with(None) for other in others) + job.bytes_with(step)
        return held <= self._memory * _MEMORY_SHARE

    def _begin(self, job: _Job, step: Step, count: int) -> None:
        if not job.running and not job.done:
            self._send(Event(kind="begun", job=job.name, steps=tuple(one.name for one in job.waiting)))
        self._send(Event(kind="step_begun", job=job.name, step=step.name))
        try:
            child = os.fork()
        except OSError as error:
            # No memory, or no more processes: only this model fails, as after a step that was killed.
            self._fail(job, step.name, f"that no process could be started for it: {error.strerror}")
            return
        if child == 0:
            _run(job, step, count, self._requests, _Machine(self._native, self._memory))
        job.waiting.remove(step)
        job.running[child] = _Running(step, time.monotonic())
        self._threads[child] = count

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                child, status = ended
                self._threads.pop(child, None)
                for job in list(self._jobs.values()):
                    if child in job.running:
                        self._ended(job, job.running.pop(child), os.waitstatus_to_exitcode(status))

    def _ended(self, job: _Job, running: _Running, code: int) -> None:
        step = running.step.name
        if code == 0:
            job.done.add(step)
            seconds = round(time.monotonic() - running.started, 3)
            self._send(Event(kind="step_ended", job=job.name, step=step, seconds=seconds))
        elif job.failure is None:
            how = f"exit code {code}" if code > 0 else f"signal {-code} (9 is often a lack of memory)"
            self._fail(job, step, how)
        if job.failure is not None and not job.running:
            self._forget_failed(job)
        elif job.failure is None and not job.running and not job.waiting:
            del self._jobs[job.name]
            self._send(Event(kind="done", job=job.name))

    def _fail(self, job: _Job, step: str, reason: str) -> None:
        job.failure = job.failure or (step, reason)
        job.waiting.clear()
        for child, running in job.running.items():
            # A step that watches over a confined process ends that first, and itself.
            os.kill(child, signal.SIGTERM if running.step.confined else signal.SIGKILL)
        if not job.running:
            self._forget_failed(job)

    def _forget_failed(self, job: _Job) -> None:
        if job.failure is None or self._jobs.pop(job.name, None) is None:
            return
        step, reason = job.failure
        self._send(Event(kind="failed", job=job.name, step=step, reason=reason))

    def _send(self, event: Event) -> None:
        data = event.to_line()
        while data:
            data = data[os.write(self._events, data) :]


def _run(job: _Job, step: Step, count: int, requests: int, machine: _Machine) -> NoReturn:
    """Run a step in this process, a child of the server, and end the process."""
    code, directory = 1, job.directory
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(directory / LOG_DIRECTORY / log_name(step.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        if not step.is_plain:
            use_native_arithmetic(machine.native)
        if step.confined:
            # Without a thread: this process forks. The server, which has one, ends this process with itself.
            limits = limits_for(job.weight_bytes, machine.memory)
            run_step(step, directory, count, limits)
        else:
            _end_with_the_builder(requests)
            with network_guard():
                step.run(directory, count)
        assert_offline()
        code = 0
    except ConfinedError:
        pass  # the end of the log is the error of the confined process
    except BaseException:  # noqa: BLE001 - the process ends here, and its log has the reason
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        # Without the shutdown of the interpreter, which would wait for threads of libraries.
        os._exit(code)


def _end_all() -> NoReturn:
    """End the server and all of its children, which are one process group.

    All of them at once: a child that hangs in a library without releasing the interpreter lock cannot end itself.
    """
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _end_with_the_builder(requests: int) -> None:
    """End these processes when the requests hang up, because the builder has closed its end."""

    def wait() -> None:
        poll = select.poll()
        # No events requested: a hang-up is always reported, and another thread reads the input.
        poll.register(requests, 0)
        poll.poll()
        _end_all()

    threading.Thread(target=wait, name="end-with-the-builder", daemon=True).start()


def modules() -> tuple[str, ...]:
    """Return the modules that steps import; the ONNX libraries only if installed, because torch variants need none."""
    has_graphs = find_spec("onnx") and find_spec("onnxruntime")
    return (*_MODULES, *_GRAPH_MODULES) if has_graphs else _MODULES


def _import(names: Iterable[str]) -> None:
    # Imported objects are not garbage, and a collection in a child would write to pages that it shares.
    gc.disable()
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.enable()


def main(
    arguments: Sequence[str],
    *,
    names: Iterable[str] | None = None,
    steps: Steps = steps_of,
    cores: int | None = None,
) -> int:
    """Import the libraries, then serve.

    Args:
        arguments: Two arguments: the descriptor for events, and JSON with the values that the variables of plain
            arithmetic have in the builder.
        names: Modules to import; None for all modules that steps import.
        steps: Returns the steps of a job.
        cores: Maximum number of computing threads; None for the usable cores.
    """
    # The builder handles an interrupt from the keyboard, and hangs up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events, native = int(arguments[0]), json.loads(arguments[1])
    # Steps and libraries must not read requests.
    requests = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    _end_with_the_builder(requests)
    # Warnings of libraries about each other; the result is measured anyway.
    warnings.simplefilter("ignore")
    enforce_offline()
    count, memory = cores or threads(), available_memory()
    if missing := [name for name in PLAIN_ARITHMETIC if os.environ.get(name) != PLAIN_ARITHMETIC[name]]:
        raise AssertionError(f"expected the environment of plain arithmetic, found another {', '.join(missing)}")
    _import(modules() if names is None else names)
    assert_offline()
    Server((requests, events), count, memory, steps=steps, native=native).serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
