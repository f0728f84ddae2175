"""Sessions of onnxruntime over one verified graph: one with all threads, and one without any for crowded times.

The only importer of onnxruntime. Importing this module imports it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from thoth_models.backends.weights import weights
from thoth_models.canonical import FormatError
from thoth_models.ending import computing
from thoth_models.errors import BackendUnavailableError

try:
    import onnxruntime
except Exception as error:  # onnxruntime raises whatever kept its library from being loaded
    raise BackendUnavailableError(
        f"the onnx backend needs onnxruntime, which cannot be imported ({error}); install thoth-models[onnx]"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.embedding import FloatArray
    from thoth_models.verify import VerifiedVariant

OUTPUT = "sentence_embedding"
MODEL_NAME, WEIGHTS_NAME = "model.onnx", "model.onnx.data"

_TOKENS_PER_THREAD = 192
"""Tokens that a run has per thread, padding included. Larger runs are slower, not faster: what passes between the
layers of a small model then no longer fits into the cache of a core."""

_RUNS_PER_THREAD = 2
"""Runs that each thread should have before a lone caller's texts are divided between threads."""

_LONGEST_WAIT = 0.05
"""Seconds after which whoever waits for a turn looks whether there is one."""

_SPIN = 50
"""Microseconds that an idle thread of onnxruntime waits for work before it sleeps. The next operator comes sooner than
that, and without a limit the threads of idle or crowded processes take cores from those that have work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A verified graph with its weights, from which any number of sessions can be made.

    Attributes:
        model: The bytes of the graph.
        directory: Where it lies; onnxruntime looks whether the file of the weights is there, and does not open it.
        weights: The weights by name, as views of the verified pages. Sessions use them and do not copy them.
        precision: What it computes with, as the manifest says.
    """

    model: bytes
    directory: Path
    weights: dict[str, onnxruntime.OrtValue]
    precision: str

    @classmethod
    def of(cls, verified: VerifiedVariant) -> Self:
        """Return the graph of a variant.

        Raises:
            FormatError: The graph or its weights are not what they should be.
        """
        model = content(verified, MODEL_NAME)
        found: dict[str, onnxruntime.OrtValue] = {}
        for weight in weights(model):
            if weight.location != WEIGHTS_NAME:
                raise FormatError(f"{weight.name}: expected to lie in {WEIGHTS_NAME}, found {weight.location!r}")
            array = weight.of(content(verified, WEIGHTS_NAME))
            found[weight.name] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        return cls(
            model=bytes(model), directory=verified.directory, weights=found, precision=verified.variant.precision
        )

    def session(self, count: int) -> onnxruntime.InferenceSession:
        """Make a session of ``count`` threads; the options are those that measured best for start, speed and memory."""
        options = onnxruntime.SessionOptions()
        # The builder optimised the graph already.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = count
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN))
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.directory))
        if self.precision == "fp32":
            # Packing copies the weights: tens of milliseconds, and memory that is not shared, for 2 % of speed.
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = 4  # fatal ones; an error is raised, and need not stand on standard error as well
        for name, value in self.weights.items():
            options.add_initializer(name, value)
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])


def content(verified: VerifiedVariant, name: str) -> memoryview:
    """Return the verified content of a file.

    Raises:
        FormatError: The variant has no such file.
    """
    if name not in verified.contents:
        raise FormatError(f"expected {name} in the variant, found {', '.join(sorted(verified.contents))}")
    return verified.contents[name]


class Sessions:
    """Runs of one graph, with as many threads as suit the number of callers. Threads may share it.

    Threads that share a run wait for each other at every operator, so a run in one thread makes the most of a core.
    Where there are runs enough to use most of the cores, each computes in its caller's thread alone; a few texts of a
    lone caller have all threads in one run, because that is answered soonest.

    Args:
        graph: The graph.
        count: Threads to use.
    """

    def __init__(self, graph: Graph, count: int) -> None:
        self._graph = graph  # the pages of the weights live as long
        self._count = count
        self._wide = graph.session(count)
        # Now, though a service with one caller may never need it: onnxruntime looks whether the file of the weights is
        # there, and once loaded, nothing depends on a storage that may have gone, or gone silent.
        self._narrow = self._wide if count == 1 else graph.session(1)
        # Kept by thread: a signal handler may raise between any two steps of the main thread's, so that what a call has
        # taken is not given back. Its next call then puts it right, where a bare number would be wrong for ever.
        self._callers: dict[int, int] = {}
        self._running: set[int] = set()  # the threads that have a turn
        # Each run has memory of its own, so that their number is bounded. Plain locks, because threading's semaphores
        # lose a turn when a signal handler raises in them, and then a later call waits for ever.
        self._wide_turns = _Turns(max(1, count // 2))
        self._narrow_turns = _Turns(count)

    @property
    def inputs(self) -> list[Any]:
        """What the graph takes: name, type and shape of each."""
        return list(self._wide.get_inputs())

    @property
    def outputs(self) -> list[Any]:
        """What the graph gives: name, type and shape of each."""
        return list(self._wide.get_outputs())

    @contextlib.contextmanager
    def calling(self, tokens: int) -> Iterator[tuple[int, int]]:
        """Be told how to run texts of so many ``tokens``, and be counted meanwhile.

        Yields:
            In how many threads to make the runs, and how many tokens one should have at most, padding included.
        """
        me = threading.get_ident()
        self._callers.pop(me, None)
        # Each thread should have several runs, or the last one leaves the others with nothing to do.
        alone, much = not self._callers, tokens >= _RUNS_PER_THREAD * _TOKENS_PER_THREAD * self._count
        workers = self._count if alone and much else 1
        try:
            self._callers[me] = workers
            yield workers, _TOKENS_PER_THREAD * (1 if self._is_crowded else self._count)
        finally:
            self._callers.pop(me, None)

    @property
    def _is_crowded(self) -> bool:
        return sum(list(self._callers.values())) * 2 > self._count

    def run(self, arrays: dict[str, Any]) -> FloatArray:
        """Return the vectors that the graph gives for its inputs."""
        if self._is_crowded:
            return self._in_turn(self._narrow_turns, self._narrow, arrays)
        return self._in_turn(self._wide_turns, self._wide, arrays)

    def _in_turn(self, turns: _Turns, session: onnxruntime.InferenceSession, arrays: dict[str, Any]) -> FloatArray:
        me = threading.get_ident()
        if me in self._running:  # a signal handler, which interrupted its own thread: that would never end its turn
            return self._run(session, arrays)
        try:
            with turns.wait():
                self._running.add(me)
                return self._run(session, arrays)
        finally:
            self._running.discard(me)
            turns.tell()

    def _run(self, session: onnxruntime.InferenceSession, arrays: dict[str, Any]) -> FloatArray:
        with computing():
            (vectors,) = session.run([OUTPUT], arrays)
        return vectors  # type: ignore[no-any-return]


class _Turns:
    """So many runs at once, each of which holds one of the locks."""

    def __init__(self, count: int) -> None:
        self.locks = [threading.Lock() for _ in range(count)]
        self._freed: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait(self) -> threading.Lock:
        """Return a lock that nobody holds at the moment."""
        # Not by waiting for a lock itself: a thread that is given one while another one has the interpreter keeps it,
        # and a core, doing nothing. So whoever runs goes on with its next batch; others come when it has none.
        while (free := next((lock for lock in self.locks if not lock.locked()), None)) is None:
            with contextlib.suppress(queue.Empty):
                self._freed.get(timeout=_LONGEST_WAIT)
        return free

    def tell(self) -> None:
        """Say that a lock is free. Where that is lost, because of an interrupt, whoever waits looks again anyway."""
        if self._freed.empty():
            self._freed.put(None)
