"""What a manager counts: numbers that only grow, and times, by model; ready for a metrics exporter."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

from thoth_models.forking import at_fork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.embedding import Backend, FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStats:
    """What became of one model, by the name that the bundle has for it.

    Attributes:
        calls: Calls of ``encode`` and its like that the model answered; a call with no text needs no model.
        texts: Texts in them.
        encode_seconds: Time spent in them, waiting included.
        failures: Those that ended with an error, or were interrupted; input that is refused never gets that far.
        loads: Times that a variant of it was loaded.
        verify_seconds: Time spent comparing its files with the manifest.
        load_seconds: Time spent making it ready after that.
        evictions: Times that it was given up to make room, or on demand.
        fallbacks: Names for which it stands in with vectors of another embedding space.
        refusals: Times that a variant of it could not be loaded, and calls for it that were refused: because another
            space is expected, or within the deadline there was no room, or it was not loaded.
        resident_bytes: Memory that it is reckoned to take now; 0 where it is not loaded.
        uses: How many calls and callers hold it now.
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
    """What a manager did in this process since it was made, and holds now.

    Attributes:
        models: By name.
        memory_budget: Bytes that loaded models may take together; None for no limit.
        reserved_bytes: Bytes that they are reckoned to take now, those that are being loaded included.
    """

    models: Mapping[str, ModelStats] = field(default_factory=dict)
    memory_budget: int | None
    reserved_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts and numbers, such as for JSON."""
        return asdict(self)


class Counters:
    """Counts by model. Threads may share it; a child of ``fork`` begins with the numbers of its parent.

    What a signal handler adds, while the thread that it interrupted does, may be lost.
    """

    def __init__(self) -> None:
        self._models: dict[str, ModelStats] = {}
        # A signal handler may ask for the numbers while its own thread adds to them.
        self._lock = threading.RLock()
        at_fork(self)

    def add(self, model: str, **amounts: float) -> None:
        """Add ``amounts`` to the numbers of ``model``."""
        with self._lock:
            before = self._models.get(model, ModelStats())
            self._models[model] = replace(
                before, **{name: getattr(before, name) + amount for name, amount in amounts.items()}
            )

    def snapshot(self) -> dict[str, ModelStats]:
        """Return the numbers by model."""
        with self._lock:
            return dict(self._models)

    def _inherited(self) -> None:
        self._lock = threading.RLock()


@final
class CountingBackend:
    """A backend whose calls are counted, whoever makes them. Threads may share it.

    Args:
        backend: What answers them.
        counters: Where they are counted.
        model: The name to count them under.
    """

    def __init__(self, backend: Backend, counters: Counters, model: str) -> None:
        self._backend = backend
        self._counters = counters
        self._model = model

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return what the backend gives for these texts."""
        started = time.monotonic()
        try:
            vectors = self._backend.encode(
                texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
            )
        except BaseException:
            self._counters.add(self._model, failures=1)
            raise
        self._counters.add(self._model, calls=1, texts=len(texts), encode_seconds=time.monotonic() - started)
        return vectors
