"""The settings of the service, read once when it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from thoth_models import ManagerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "SERVICE_"
DEFAULT = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of the service; each can be set as ``SERVICE_…`` in the environment.

    Attributes:
        model: Name or alias of the model; ``default`` means the bundle's default model if nothing has that name.
        expect_space: The embedding space of a persistent index; None for any space, which is right here because the
            service builds its indexes when it starts.
        load_seconds: Deadline of loading the model.
        patience_seconds: How long a request waits for a model that is still loading.
        encode_seconds: Deadline of one call of the model, including the time in the queue.
        encode_workers: Maximum number of concurrent calls of the model; small ones are joined into batches.
        most_waiting: Maximum number of waiting calls; a request beyond it is refused immediately.
        drain_seconds: How long the process serves on after SIGTERM, with ``/ready`` answering 503: as long as a load
            balancer needs to notice. 0 where none is in front.
        stop_seconds: How long requests may take to finish after that.
        schema_threshold: Minimum similarity for a column to be linked.
        evidence_threshold: Minimum similarity for a piece of evidence to be used.
        example_threshold: Minimum similarity for an example to be used.
    """

    model: str = DEFAULT
    expect_space: str | None = None
    load_seconds: float = 30.0
    patience_seconds: float = 4.0
    encode_seconds: float = 30.0
    encode_workers: int = 4
    most_waiting: int = 64
    drain_seconds: float = 0.0
    stop_seconds: float = 5.0
    schema_threshold: float = 0.4
    evidence_threshold: float = 0.35
    example_threshold: float = 0.45

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from the environment; a variable that is not set, or empty, has its default.

        Raises:
            ValueError: A value is not valid; the message names the variable.
        """
        given = {name: environment.get(f"{PREFIX}{name.upper()}", "") for name in _READERS}
        return cls(**{name: _READERS[name](name, text) for name, text in given.items() if text})

    def manager_config(self) -> ManagerConfig:
        """Return the manager's configuration for these settings."""
        spaces = {} if self.expect_space is None else {self.model: self.expect_space}
        return ManagerConfig(expect_spaces=spaces, timeout=self.load_seconds, async_threads=self.encode_workers)


def _text(_name: str, text: str) -> str:
    return text


def _seconds(name: str, text: str) -> float:
    return _number(name, text, "a number of seconds above 0", lambda value: 0 < value < math.inf)


def _seconds_or_none(name: str, text: str) -> float:
    return _number(name, text, "a number of seconds, 0 or more", lambda value: 0 <= value < math.inf)


def _similarity(name: str, text: str) -> float:
    return _number(name, text, "a similarity from -1 to 1", lambda value: -1 <= value <= 1)


def _number(name: str, text: str, expected: str, is_fit: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_fit(value):
        raise ValueError(f"{PREFIX}{name.upper()}: expected {expected}, found {text!r}")
    return value


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{PREFIX}{name.upper()}: expected a whole number of at least 1, found {text!r}")
    return int(text)


_READERS: dict[str, Callable[[str, str], Any]] = {
    "model": _text,
    "expect_space": _text,
    "load_seconds": _seconds,
    "patience_seconds": _seconds,
    "encode_seconds": _seconds,
    "encode_workers": _count,
    "most_waiting": _count,
    "drain_seconds": _seconds_or_none,
    "stop_seconds": _seconds,
    "schema_threshold": _similarity,
    "evidence_threshold": _similarity,
    "example_threshold": _similarity,
}
