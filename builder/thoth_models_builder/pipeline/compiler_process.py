"""The compiler process of a build: it is started on demand, receives jobs, and has a deadline for each.

This module connects the compile package and the store, which do not import each other. The result of a job goes into
the store, once for each cache key, even if another job of the same build fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.golden import GOLDEN_NAME
from thoth_models_builder.bundle.derivation import Derived
from thoth_models_builder.errors import CompileError, SourceError, StoreError, UnsupportedModelError
from thoth_models_builder.pipeline.store_directory import scratch_for
from thoth_models_builder.spec.compile_job import (
    JOB_NAME,
    LOG_DIRECTORY,
    MODEL_DIRECTORY,
    PLAIN_ARITHMETIC,
    REFUSAL_NAME,
    RESULT_NAME,
    CompileJob,
    CompileResult,
    Event,
    Request,
    cause_of,
    compiler_environment,
    log_name,
    printable,
)
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY
from thoth_models_builder.storage.files import link_or_copy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from thoth_models.bundle.digest import Digest
    from thoth_models_builder.storage.store import Store
    from thoth_models_builder.watcher import BuildWatcher, CompileProgress

_SERVER: Final = "thoth_models_builder.compile.server"
_MAX_LOG_SHOWN: Final = 4000
"""Bytes from the end of a log that a message contains at most."""

_START_SECONDS: Final = 600.0
"""Time limit for the compiler to import its libraries, possibly from a slow disk."""
_END_SECONDS: Final = 30.0
"""Time limit for the compiler to end, or to end a job."""
_POLL_SECONDS: Final = 0.5
"""Interval of checks that the compiler process is alive, in addition to its events."""


@dataclass(eq=False, kw_only=True)
class _Pending:
    """A job that the compiler has not finished.

    Attributes:
        directory: The directory of the job.
        job: The job.
        key: Cache key of the compilation.
        toolchain: Versions of the libraries that take part.
        running: Names of the running steps, in the order of their start.
        resumed: When the first of them started; None while the job waits for cores or memory that others have.
        seconds: Time that the job has run for before.
        cancelled: When it was cancelled, or None.
    """

    directory: tempfile.TemporaryDirectory[str]
    job: CompileJob
    key: Digest
    toolchain: Mapping[str, str]
    running: dict[str, None] = field(default_factory=dict)
    resumed: float | None = None
    seconds: float = 0.0
    cancelled: float | None = None

    @property
    def place(self) -> Path:
        return Path(self.directory.name)

    def begin_step(self, step: str, now: float) -> None:
        self.resumed = self.resumed if self.running else now
        self.running[step] = None

    def end_step(self, step: str, now: float) -> None:
        self.running.pop(step, None)
        if not self.running and self.resumed is not None:
            self.seconds += now - self.resumed
            self.resumed = None

    def has_run_for(self, seconds: float, now: float) -> bool:
        return self.resumed is not None and self.seconds + now - self.resumed >= seconds


class Compiler:
    """The compiler process of one build. Use it as a context manager, which ends the process.

    Args:
        store: Receives the results.
        watcher: Receives the progress.
        deadline: Time limit for each model in seconds, while steps of it run.
    """

    def __init__(self, store: Store, watcher: BuildWatcher, *, deadline: float) -> None:
        self._store = store
        self._watcher = watcher
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._log: IO[bytes] | None = None
        self._begun_by = 0.0
        self._events: queue.SimpleQueue[tuple[float, Event]] = queue.SimpleQueue()  # with the time it came
        self._pending: dict[str, _Pending] = {}
        self._failed: dict[str, str] = {}
        self._refused: set[str] = set()
        self._finished: dict[str, Derived] = {}

    def __enter__(self) -> Self:
        """Return the object; :meth:`start` starts the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and its running jobs; keep the results of finished ones, which were not collected."""
        self._end()
        while not self._events.empty():
            event = self._events.get()[1]
            if event.kind == "done" and event.job in self._pending:
                with contextlib.suppress(FormatError, FileNotFoundError, SourceError, StoreError):
                    self._keep(self._pending[event.job])
        for pending in self._pending.values():
            pending.directory.cleanup()
        if self._log is not None:
            self._log.close()

    def start(self) -> None:
        """Start the process, unless it runs already; it imports its libraries while the builder fetches files."""
        if self._process is not None:
            return
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the context ends
        own = {name: os.environ[name] for name in PLAIN_ARITHMETIC if name in os.environ}
        events, write_end = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(events,), name="compiler-events", daemon=True)
        try:
            # The input is open as long as this process lives, and the compiler ends when it closes.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", _SERVER, str(write_end), json.dumps(own)],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(write_end,),
                process_group=0,
                bufsize=0,
                env=compiler_environment(os.environ),
            )
            self._reader.start()
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread
            os.close(events)
            raise CompileError(f"expected to start the compiler, found: {error}") from error
        finally:
            os.close(write_end)
        self._begun_by = time.monotonic() + _START_SECONDS

    def submit(
        self, name: str, job: CompileJob, places: Mapping[str, Path], *, key: Digest, toolchain: Mapping[str, str]
    ) -> None:
        """Send a job to the compiler; :meth:`collect` waits for it.

        Args:
            name: Name of the model, for progress and messages.
            job: The job.
            places: File to read each source file from, by path in the model's source directory.
            key: Cache key of the compilation.
            toolchain: Versions of the libraries that take part.

        Raises:
            StoreError: The store cannot be written.
        """
        self.start()
        with _reported(self._store):
            self._store.prepare()
            place = scratch_for(self._store, is_confined=bool(job.code))
            directory = tempfile.TemporaryDirectory(dir=place, prefix="compile-", ignore_cleanup_errors=True)
            self._pending[name] = _Pending(directory=directory, job=job, key=key, toolchain=toolchain)
            place = Path(directory.name)
            for path, source in places.items():
                target = place / MODEL_DIRECTORY / SOURCE_DIRECTORY / path
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(source, target)
            (place / JOB_NAME).write_bytes(job.to_bytes())
        weights = sum(content.size for path, content in job.source.items() if path.endswith(".safetensors"))
        self._request(Request(kind="compile", job=name, directory=directory.name, weight_bytes=weights))
        # The process may have been started long before, while files were still downloaded.
        self._begun_by = max(self._begun_by, time.monotonic() + _START_SECONDS)

    def collect(self) -> dict[str, Derived]:
        """Wait for all jobs, and return the result of each, by name of the model.

        Raises:
            UnsupportedModelError: A bundle must not contain a model, such as one without some of its weights.
            CompileError: Compiling a model failed, or took too long; the message has the end of the log. The results of
                other models are in the store.
            StoreError: The store cannot be written.
        """
        if self._pending:
            with self._watcher.compiling() as progress:
                while self._pending:
                    self._advance(progress)
        if self._failed:
            kind = UnsupportedModelError if self._failed.keys() <= self._refused else CompileError
            # Indented, so that no line of a log looks like one about another model.
            lines = (f"{name}: {reason}".replace("\n", "\n  ") for name, reason in self._failed.items())
            raise kind("\n".join(lines))
        return self._finished

    def _advance(self, progress: CompileProgress) -> None:
        """Handle the next event, if there is one soon, and after the last one check the deadlines."""
        with contextlib.suppress(queue.Empty):
            self._handle(*self._events.get(timeout=_POLL_SECONDS), progress)
        if not self._events.empty():
            return
        process = self._process
        if process is not None and (code := process.poll()) is not None:
            self._fail_all(f"expected the compiler to go on, found that it ended with {_ending(code)}")
            return
        now = time.monotonic()
        for name, pending in list(self._pending.items()):
            if pending.cancelled is not None and now >= pending.cancelled + _END_SECONDS:
                self._fail_all(f"expected the compiler to end a job within {_END_SECONDS:g} s, found it at work still")
                return
            if pending.cancelled is None and pending.has_run_for(self._deadline, now):
                steps = ", ".join(map(repr, pending.running))
                self._failed[name] = (
                    f"expected the compiler to end within {self._deadline:g} s, found it at work still on {steps}"
                    f"{self._logs(pending, pending.running)}"
                )
                pending.cancelled = now
                self._request(Request(kind="cancel", job=name))
        if not any(pending.running for pending in self._pending.values()) and now >= self._begun_by:
            self._fail_all(f"expected the compiler to begin within {_START_SECONDS:g} s, found it at work still")

    def _handle(self, now: float, event: Event, progress: CompileProgress) -> None:
        pending = self._pending.get(event.job)
        if pending is None:
            return
        match event.kind:
            case "begun":
                progress.begin(event.job, event.steps)
            case "step_begun":
                pending.begin_step(event.step, now)
                progress.begin_step(event.job, event.step)
            case "step_ended":
                pending.end_step(event.step, now)
                progress.end_step(event.job, event.step, event.seconds)
            case "failed":
                refusal, log = pending.place / REFUSAL_NAME, self._logs(pending, [event.step]) or _end_of(self._log)
                reason = (
                    f"expected the compiler's step {event.step!r} to succeed, found {cause_of(log)}{event.reason}{log}"
                )
                if refusal.exists():
                    reason = printable(refusal.read_text(encoding="utf-8", errors="replace"))
                    self._refused.add(event.job)
                self._failed.setdefault(event.job, reason)
                self._forget(event.job, progress)
            case _:
                try:
                    self._finished[event.job] = self._keep(pending)
                except (FormatError, FileNotFoundError, SourceError) as error:
                    self._failed[event.job] = f"expected the compiler to leave a complete result, found: {error}"
                self._forget(event.job, progress)
        # Time limit for the next step to begin, which takes the compiler milliseconds.
        self._begun_by = time.monotonic() + _START_SECONDS

    def _forget(self, name: str, progress: CompileProgress) -> None:
        progress.end(name)
        self._pending.pop(name).directory.cleanup()

    def _fail_all(self, reason: str) -> None:
        """Kill the process, and fail every remaining job."""
        self._end()
        log = _end_of(self._log)
        for name in list(self._pending):
            self._failed.setdefault(name, f"{reason}{log}")
            self._pending.pop(name).directory.cleanup()

    def _keep(self, pending: _Pending) -> Derived:
        """Move the files of a job into the store, whose writer compares them with the digests in the result."""
        with _reported(self._store, but=FileNotFoundError):
            result = CompileResult.from_bytes((pending.place / RESULT_NAME).read_bytes())
            _check_complete(result, pending.job)
            for path, content in result.files.items():
                self._store.copy(pending.place / MODEL_DIRECTORY / path, path, content)
            derived = Derived(
                files=result.files,
                golden=GOLDEN_NAME,
                variants=tuple(result.accuracy),
                omitted=result.omitted,
                derivation=pending.key,
                toolchain=pending.toolchain,
                accuracy=result.accuracy,
            )
            self._store.write_record(pending.key, derived.to_bytes())
        return derived

    def _logs(self, pending: _Pending, steps: Mapping[str, None] | list[str]) -> str:
        texts = []
        for step in steps:
            with contextlib.suppress(OSError), (pending.place / LOG_DIRECTORY / log_name(step)).open("rb") as log:
                texts.append(_end_of(log))
        return "".join(texts)

    def _request(self, request: Request) -> None:
        # If the compiler has ended, waiting for its events detects it.
        with contextlib.suppress(BrokenPipeError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(request.to_line())

    def _read(self, descriptor: int) -> None:
        """Read events into the queue until the compiler and all of its children have ended."""
        pending = b""
        with open(descriptor, "rb", buffering=0) as stream:
            while data := stream.read(65536):
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._events.put((time.monotonic(), Event.from_line(line)))

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel keeps it, such as in a dead file system
                process.wait(_END_SECONDS)
        if self._reader is not None and self._reader.ident is not None:
            # Wait for the children, which end by themselves: one that still writes would disturb the removal of its
            # directory.
            self._reader.join(_END_SECONDS)
            if self._reader.is_alive():  # but for one that hangs in a library and lets no other thread run
                _kill(process)
                self._reader.join(_END_SECONDS)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the compiler and its children, which are one process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _reported(store: Store, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise StoreError(f"{store.scratch}: cannot be written: {error.strerror or error}") from error


def _check_complete(result: CompileResult, job: CompileJob) -> None:
    """Refuse a result that lacks something or has a file in the place of a source file; it would be kept for good."""
    if missing := set(job.variants) - result.accuracy.keys() - result.omitted.keys():
        raise FormatError(f"{RESULT_NAME}: expected each variant as compiled or omitted, found no {min(missing)}")
    if GOLDEN_NAME not in result.files:
        raise FormatError(f"{RESULT_NAME}: expected the golden vectors among the files, found no {GOLDEN_NAME}")
    if wrong := [path for path in result.files if path.startswith(f"{SOURCE_DIRECTORY}/")]:
        raise FormatError(f"{RESULT_NAME}: expected compiled files only, found {wrong[0]}")


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code} (9 is often a lack of memory)"


def _end_of(log: IO[bytes] | None) -> str:
    """Return the end of a log as additional lines of a message."""
    text = "" if log is None else end_of_log(log)
    return f"\n{text}" if text else ""


def end_of_log(log: IO[bytes]) -> str:
    """Return the end of a log, without control characters and without white space around it."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - _MAX_LOG_SHOWN))
    return printable(log.read().decode(errors="replace").strip())
