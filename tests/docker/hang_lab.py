"""Runs the subjects of the hang tests in containers, beside a neighbour that misbehaves, and tells what became of them.

Of ours one goes at a time, and has the processors before all others, so that its deadline does not depend on how many
others are starting. Of the controls one at a time computes: it holds its turn until it comes to the part that hangs
(``go``), and then waits there without using the processor, beside all others.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.docker.hang_images import LABEL, SETTINGS
from tests.docker.subjects.events import MARK, count_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker.models.containers import Container

    from tests.docker.hang_images import HangImages

BLOCKED_SECONDS = 20.0
"""How long a control has to be seen standing still."""

READY_SECONDS = 10.0
"""Within which ours has to be ready, from the start of the container."""

TORCH_READY_SECONDS = BLOCKED_SECONDS
"""The same with torch, which took 8 to 11 s on two busy cores: before a control would count as blocked."""

_LOST_SECONDS = 120.0
"""After which a container that said nothing is given up: an error of the test, not a finding."""

OUR_SHARES = 8192
"""Weight of ours where processors are contended; 1024 is usual. It is no limit, and nothing reads it."""

NEIGHBOUR = "neighbour"
"""Name of the neighbour in its network."""

TEXTS = (
    "water",
    "where is the river?",
    "a quick question about the table of customers",
    "東京の川",
    "select name from customer where city = 'Ulm'",
    "",
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One container to run.

    Attributes:
        image: See :mod:`tests.docker.hang_images`.
        command: A module of the subjects, and its arguments.
        port: Of the neighbour, where ``HF_ENDPOINT`` points; None leaves the container without a network.
        names: Ask the neighbour for addresses of names; nothing has an address then.
        environment: More variables.
        options: How the container is run, as docker-py calls it.
        tmpfs: Where the container has file systems in memory.
        computes: It goes on computing after ``go``, so it keeps its turn.
        seconds: How long it may go on after the last ``go`` that it said.
    """

    image: str
    command: tuple[str, ...]
    port: int | None = None
    names: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()
    computes: bool = False
    seconds: float = BLOCKED_SECONDS

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a subject.

    Attributes:
        ready: It came to its end; ``facts`` are what it told then.
        blocked: It stood still until its time was over.
        seconds: For ours, from the start of the container until it had its first vectors; for a control, from ``go``
            until its end.
        exit_code: None where it was stopped from outside.
        out_of_memory: The kernel killed it for its memory.
        output: All that it printed.
        accepted: Connections and questions that the neighbour had from it.
        attempts: Connections and datagrams that its network namespace tried to send, where that could be asked.
    """

    ready: bool
    blocked: bool
    seconds: float
    exit_code: int | None
    out_of_memory: bool
    output: str
    facts: Mapping[str, Any]
    accepted: int
    attempts: Mapping[str, int]

    def __str__(self) -> str:
        """Return it in a few words."""
        if self.ready:
            return f"ready after {self.seconds:.1f} s"
        if self.blocked:
            return f"still blocked after {self.seconds:.1f} s"
        why = "out of memory" if self.out_of_memory else self.last_line[:60]
        return f"exit {self.exit_code} after {self.seconds:.1f} s: {why}"

    @property
    def last_line(self) -> str:
        """The last line it printed: of a traceback, the error."""
        lines = [line for line in self.output.splitlines() if line.strip() and not line.startswith(MARK)]
        return lines[-1].strip() if lines else ""


class Lab:
    """A network that leads nowhere, with the neighbour in it, and whoever is put there."""

    def __init__(self, images: HangImages) -> None:
        self._images = images
        self._turns = {"control": Lock(), "ours": Lock()}
        self._network = Network(
            docker_network_kw={"internal": True, "labels": {LABEL: "hangs"}, "check_duplicate": True}
        )
        self._neighbour: DockerContainer | None = None
        self._address = ""

    @contextmanager
    def open(self) -> Iterator[Lab]:
        """Start the neighbour, and remove everything in the end."""
        with self._network:
            container = (
                DockerContainer(self._images.name_of(NEIGHBOUR))
                .with_command(["python3", "-m", "tests.docker.subjects.neighbour", "serve"])
                .with_network(self._network)
                .with_network_aliases(NEIGHBOUR)
                .with_kwargs(labels={LABEL: "hangs"})
            )
            with container as self._neighbour:
                wrapped = container.get_wrapped_container()
                self._address = _address_of(wrapped)
                deadline = time.monotonic() + READY_SECONDS
                while self._ask_neighbour().exit_code != 0:
                    assert time.monotonic() < deadline, self._ask_neighbour().output
                    time.sleep(0.1)
                yield self

    def run(self, subject: Subject, *, control: bool) -> Outcome:
        """Run a subject to its end, or until it has stood still for long enough."""
        image = self._images.name_of(subject.image)
        with self._turns["control" if control else "ours"]:
            container = self._container(subject, image, {} if control else {"cpu_shares": OUR_SHARES})
            began = time.monotonic()
            container.start()
            try:
                watch = Watch(container.get_wrapped_container(), began, pause=0.2 if control else 0.03)
                if control:
                    watch.until_go(_LOST_SECONDS)
                if subject.computes or not control:
                    watch.until_end(subject.seconds)
            except BaseException:
                container.stop()
                raise
        try:
            watch.until_end(subject.seconds)
            return self._outcome(watch, control=control)
        finally:
            container.stop()

    def _container(self, subject: Subject, image: str, more: Mapping[str, Any]) -> DockerContainer:
        environment = {"SUBJECT_TEXTS": json.dumps(TEXTS), **subject.environment}
        options: dict[str, Any] = {"labels": {LABEL: "hangs"}, **more, **subject.options}
        if subject.port is not None:
            environment["HF_ENDPOINT"] = f"http://{NEIGHBOUR}:{subject.port}"
        if subject.names:
            environment["SUBJECT_NAMESERVER"] = self._address
        plain = ["env", *(f"--unset={name}" for name in SETTINGS if name not in environment)]
        container = DockerContainer(image).with_command([*plain, "python3", "-m", *subject.command])
        for name, value in environment.items():
            container.with_env(name, value)
        for place in subject.tmpfs:
            container.with_tmpfs_mount(place)
        if subject.port is None and not subject.names:
            options["network_mode"] = "none"
        else:
            container.with_network(self._network)
        return container.with_kwargs(**options)

    def _outcome(self, watch: Watch, *, control: bool) -> Outcome:
        ready = watch.events.get("ready")
        since = watch.events["go"].at if control and "go" in watch.events else watch.began
        # What ours goes on to do after its first vectors takes as long as it takes.
        first = ready if control else watch.events.get("vectors", ready)
        until = watch.ended if ready is None or first is None else first.at
        accepted = [
            entry
            for entry in json.loads(self._ask_neighbour().output)
            if entry["peer"] == watch.address and entry["at"] >= watch.started_at
        ]
        return Outcome(
            ready=ready is not None,
            blocked=ready is None and watch.exit_code is None,
            seconds=until - since,
            exit_code=watch.exit_code,
            out_of_memory=watch.out_of_memory,
            output=watch.output,
            facts=ready.facts if ready is not None else {},
            accepted=len(accepted),
            attempts=ready.facts.get("attempts", {}) if ready is not None else watch.attempts,
        )

    def _ask_neighbour(self) -> Any:
        assert self._neighbour is not None
        return self._neighbour.exec(["python3", "-m", "tests.docker.subjects.neighbour", "record"])


@dataclass(frozen=True)
class Event:
    """What a subject told, and when it was seen here."""

    at: float
    facts: Mapping[str, Any]


class Watch:
    """Follows one container."""

    def __init__(self, container: Container, began: float, *, pause: float) -> None:
        self._container = container
        self._pause = pause
        self._is_over = False
        self.began = began
        self.ended = began
        self.events: dict[str, Event] = {}
        self.exit_code: int | None = None
        self.out_of_memory = False
        self.attempts: Mapping[str, int] = {}
        container.reload()
        self.address = _address_of(container)
        self.started_at = _seconds_of(container.attrs["State"]["StartedAt"])

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return str(self._container.logs().decode(errors="replace"))

    def until_go(self, seconds: float) -> None:
        """Wait until the subject says that the part which may hang begins, or ends."""
        self._wait(seconds, ("go", "ready"))
        found = bool(self.events) or self.exit_code is not None
        assert found, f"{self._container.attrs['Args']}: expected it to begin within {seconds:g} s; {self.output}"

    def until_end(self, seconds: float) -> None:
        """Wait until the subject ends, or has stood still for ``seconds``. The second call does nothing."""
        if self._is_over:
            return
        self._wait(seconds, ())
        self._is_over = True
        if self.exit_code is None:
            self.ended = time.monotonic()
            counted = self._container.exec_run(["cat", "/proc/net/snmp"])
            self.attempts = count_attempts(counted.output.decode())

    def _wait(self, seconds: float, names: Sequence[str]) -> None:
        while time.monotonic() < max((event.at for event in self.events.values()), default=self.began) + seconds:
            self._container.reload()
            state = self._container.attrs["State"]
            self._read()
            if state["Status"] in ("exited", "dead"):
                self._read()
                self.exit_code = int(state["ExitCode"])
                self.out_of_memory = bool(state["OOMKilled"]) or self.exit_code == 137
                self.ended = time.monotonic()
                return
            if any(name in self.events for name in names):
                return
            time.sleep(self._pause)

    def _read(self) -> None:
        printed = self._container.logs(stderr=False).decode(errors="replace")
        now = time.monotonic()
        # The engine keeps a long line in parts of 16 KiB, with what came on standard error between them: events are
        # read from standard output alone. A subject may say ``go`` again, for another try: the last one counts.
        told: dict[str, Any] = {}
        for line in printed.splitlines():
            if line.startswith(MARK) and line.endswith("}"):
                facts = json.loads(line.removeprefix(MARK))
                told[facts["event"]] = facts
        for name, facts in told.items():
            if name not in self.events or self.events[name].facts != facts:
                self.events[name] = Event(now, facts)


def _address_of(container: Container) -> str:
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"]
    return next((str(network["IPAddress"]) for network in networks.values()), "")


def _seconds_of(text: str) -> float:
    """Return the seconds since 1970 that the engine writes with nanoseconds."""
    return dt.datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00").timestamp()
