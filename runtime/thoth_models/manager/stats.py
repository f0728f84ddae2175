"""Statistics of a manager: counters and times by model, ready for a metrics exporter."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from thoth_models.process.fork import ForkAware, at_fork

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStats:
    """Statistics of one model, under its name in the bundle.

    Attributes:
        calls: Calls of ``encode`` and similar methods that the model answered. A call without texts does not count.
        texts: Texts in these calls.
        encode_seconds: Time spent in these calls, including waiting.
        failures: Calls that failed or were interrupted. Refused input does not count, because it never gets that far.
        loads: How often a variant of the model was loaded.
        verify_seconds: Time spent comparing its files with the manifest.
        load_seconds: Time spent loading it after that.
        evictions: How often it was evicted, to free memory or on demand.
        fallbacks: Names for which it answers with vectors of another embedding space.
        refusals: How often a variant could not be loaded, or a call was refused because another space is expected or
            because there was no memory or no loaded model within the deadline.
        resident_bytes: Estimated bytes of memory that it takes now; 0 if it is not loaded.
        uses: How many calls and callers use it now.
    """

    calls: int = 0
    texts: int = 0
    encode_seconds: float = 0.0
    failures: int = 0
    loads: int = 0
    verify_seconds: float = 0.0
    load_seconds: float = 0.0
    evictions: int = 0
    fallbacks: int = 0
    refusals: int = 0
    resident_bytes: int = 0
    uses: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ManagerStats:
    """Statistics of a manager in this process, since its creation.

    Attributes:
        models: By name.
        memory_budget: Memory budget in bytes; None for no limit.
        reserved_bytes: Estimated bytes of all models that are loaded or loading.
    """

    models: Mapping[str, ModelStats] = field(default_factory=dict)
    memory_budget: int | None
    reserved_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as plain dicts and numbers, for JSON."""
        return asdict(self)


class Counters(ForkAware):
    """Counters by model. Threads may share them; a child of ``fork`` starts with the values of its parent.

    If a signal handler interrupts a thread that is counting, and counts as well, one of the two may be lost.
    """

    def __init__(self) -> None:
        self._models: dict[str, ModelStats] = {}
        # Reentrant: a signal handler may read the counters while its own thread adds to them.
        self._lock = threading.RLock()
        at_fork(self)

    def add(self, model: str, **amounts: float) -> None:
        """Add ``amounts`` to the counters of ``model``."""
        with self._lock:
            before = self._models.get(model, ModelStats())
            self._models[model] = replace(
                before, **{name: getattr(before, name) + amount for name, amount in amounts.items()}
            )

    def snapshot(self) -> dict[str, ModelStats]:
        """Return the statistics by model."""
        with self._lock:
            return dict(self._models)

    def after_fork_in_child(self) -> None:
        """Create a new lock, because a thread of the parent may hold the old one."""
        self._lock = threading.RLock()
