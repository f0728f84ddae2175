"""Sessions of onnxruntime for one verified graph: one with all threads, and one without threads for busy times.

The only importer of onnxruntime. Importing this module imports it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from thoth_models.backends.onnx_external_data import TENSORS_SUFFIX, read_tensors
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.errors import BackendUnavailableError
from thoth_models.process.free_memory import return_free_memory
from thoth_models.process.shutdown import computing
from thoth_models.process.signals import Signal

try:
    import onnxruntime
except Exception as error:  # onnxruntime raises any error that kept its library from being loaded
    raise BackendUnavailableError(
        f"the onnx backend needs onnxruntime, which cannot be imported ({error}); install thoth-models[onnx]"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thoth_models.types import FloatArray
    from thoth_models.verification.verify import VerifiedVariant

OUTPUT = "sentence_embedding"
MODEL_NAME = "model.onnx"
WEIGHTS_NAME, TENSORS_NAME = f"{MODEL_NAME}.data", f"{MODEL_NAME}{TENSORS_SUFFIX}"

_TOKENS_PER_THREAD = 192
"""Tokens of a run per thread, including padding. Larger runs are slower, not faster, because the activations between
the layers of a small model no longer fit into the cache of a core."""

_LEAST_TOKENS_PER_THREAD = 64
"""Tokens for each thread from which a single caller's texts are divided among threads. A run of fewer tokens takes
nearly as long, so that a run with all threads is as fast."""

_NO_WEIGHTS = Path(__file__).with_name("no_weights")
"""A directory with an empty weight file. onnxruntime checks that the file exists, and opens it only for tensors that it
is not given: those that the list of tensors lacks, at any depth of the graph. It fails for them, instead of reading
bytes that were not compared."""

_LONG = 2_048
"""Tokens of a text above which the memory of its run is returned afterwards. onnxruntime keeps that of other runs for
later ones, which makes short runs faster."""

_RETURN_MEMORY = "memory.enable_memory_arena_shrinkage", "cpu:0"
"""Option of a run. onnxruntime then returns memory to the C library. glibc would keep more of it after every run of
another length, and after runs of several threads."""

_SPIN = 50
"""Microseconds that an idle thread of onnxruntime spins before it sleeps. The next operator comes sooner than that.
Without a limit, the threads of idle processes would take cores from busy ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A verified graph with its weights, from which any number of sessions can be created.

    Attributes:
        model: The bytes of the graph.
        weights: The weights by name, as views of the verified pages. Sessions use them without copying.
        precision: Its precision, from the manifest.
    """

    model: bytes
    weights: dict[str, onnxruntime.OrtValue]
    precision: str

    @classmethod
    def of(cls, verified: VerifiedVariant) -> Self:
        """Return the graph of a variant.

        Raises:
            FormatError: The graph or its weights do not have the expected form.
        """
        model, data = bytes(content(verified, MODEL_NAME)), content(verified, WEIGHTS_NAME)
        try:
            arrays = {tensor.name: tensor.view(data) for tensor in read_tensors(bytes(content(verified, TENSORS_NAME)))}
        except FormatError as error:
            raise FormatError(f"{TENSORS_NAME}: {error}") from error
        return cls(
            model=model,
            weights={name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()},
            precision=verified.variant.precision,
        )

    def session(self, count: int) -> onnxruntime.InferenceSession:
        """Create a session with ``count`` threads; its options measured best for start time, speed and memory."""
        options = onnxruntime.SessionOptions()
        # The builder optimised the graph already.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = count
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN))
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(_NO_WEIGHTS))
        if self.precision == "fp32":
            # No prepacking: it copies the weights into memory that processes do not share, and the graph is written so
            # that it gains little. The copy of int8 weights is small.
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = 4  # only fatal ones: an error is raised, and need not be printed as well
        for name, value in self.weights.items():
            options.add_initializer(name, value)
        # No fallback: after an error it would print to standard output, and try the same provider again.
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def content(verified: VerifiedVariant, name: str) -> memoryview:
    """Return the verified content of a file.

    Raises:
        FormatError: The variant has no such file.
    """
    if name not in verified.contents:
        raise FormatError(f"expected {name} in the variant, found {', '.join(sorted(verified.contents))}")
    return verified.contents[name]


class Sessions:
    """Runs a graph, with a number of threads that depends on the number of callers. Threads may share it.

    Threads that share a run wait for each other at every operator, so a run in a single thread uses a core best. If
    there are enough runs for most of the cores, each computes in its caller's thread alone. A few texts of a single
    caller use all threads in one run, because that has the lowest latency.

    Args:
        graph: The graph.
        wide: Its session with ``count`` threads.
        narrow: Its session with one thread; the same one if ``count`` is 1.
        count: Threads to use.
    """

    def __init__(
        self, graph: Graph, wide: onnxruntime.InferenceSession, narrow: onnxruntime.InferenceSession, count: int
    ) -> None:
        self._graph = graph  # keeps the pages of the weights alive
        self._count = count
        self._wide, self._narrow = wide, narrow
        # By thread: if a signal handler raises in the main thread, a call may not be removed. The next call of that
        # thread corrects the entry, while a plain counter would stay wrong for ever.
        self._callers: dict[int, int] = {}
        self._running: set[int] = set()  # the threads that have a slot
        # Each run has its own memory, so their number is limited. With plain locks, because threading's semaphores
        # lose a slot if a signal handler raises in them, and a later call would wait for ever.
        self._wide_slots = _Slots(max(1, count // 2))
        self._narrow_slots = _Slots(count)

    @property
    def inputs(self) -> list[Any]:
        """The inputs of the graph: name, type and shape of each."""
        return list(self._wide.get_inputs())

    @property
    def outputs(self) -> list[Any]:
        """The outputs of the graph: name, type and shape of each."""
        return list(self._wide.get_outputs())

    @contextlib.contextmanager
    def calling(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Register the caller for a call with texts of so many tokens each, and choose worker count and batch size.

        Yields:
            The number of threads for the runs, and the maximum number of tokens of a run, including padding.
        """
        me = threading.get_ident()
        self._callers.pop(me, None)
        tokens = sum(lengths)
        # No text is longer than the share of a thread, because a text is not divided.
        is_much = tokens >= self._count * max(_LEAST_TOKENS_PER_THREAD, max(lengths, default=0))
        workers = self._count if is_much and not self._callers else 1
        try:
            self._callers[me] = workers
            most = _TOKENS_PER_THREAD * (1 if self._is_crowded else self._count)
            if workers > 1:
                # As many runs for each thread, or the others would be idle during the last one.
                runs = workers * math.ceil(tokens / (workers * _TOKENS_PER_THREAD))
                most = min(most, math.ceil(tokens / runs) + max(lengths))
            yield workers, most
        finally:
            self._callers.pop(me, None)

    @property
    def _is_crowded(self) -> bool:
        return sum(list(self._callers.values())) * 2 > self._count

    def run(self, arrays: dict[str, Any]) -> FloatArray:
        """Run the graph, and return its vectors."""
        if self._is_crowded:
            return self._in_slot(self._narrow_slots, self._narrow, arrays)
        return self._in_slot(self._wide_slots, self._wide, arrays)

    def _in_slot(self, slots: _Slots, session: onnxruntime.InferenceSession, arrays: dict[str, Any]) -> FloatArray:
        me = threading.get_ident()
        if me in self._running:  # in a signal handler, whose own thread holds the slot and cannot release it
            return self._run(session, arrays)
        try:
            with slots.wait():
                self._running.add(me)
                slots.notify()
                return self._run(session, arrays)
        finally:
            self._running.discard(me)
            slots.notify()

    def _run(self, session: onnxruntime.InferenceSession, arrays: dict[str, Any]) -> FloatArray:
        options = onnxruntime.RunOptions()
        is_long = arrays["input_ids"].shape[1] > _LONG
        if is_long:
            options.add_run_config_entry(*_RETURN_MEMORY)
        with computing():
            try:
                (vectors,) = session.run([OUTPUT], arrays, options)
            finally:
                if is_long:
                    return_free_memory()
        return vectors  # type: ignore[no-any-return]


class _Slots:
    """Limits the number of concurrent runs: each run holds one of the locks."""

    def __init__(self, count: int) -> None:
        self.locks = [threading.Lock() for _ in range(count)]
        self._freed = Signal()

    def wait(self) -> threading.Lock:
        """Return a lock that is free, for a `with` statement; wait for one if necessary."""
        # Not by waiting for the lock itself: a thread that gets it while another one has the interpreter lock would
        # keep it, and a core, idle. So a running thread continues with its next batch, and others follow when it has
        # none.
        free = self._freed.wait_until(self._free, is_exclusive=True)
        if free is None:
            raise AssertionError("expected to wait until a lock is free")
        return free

    def _free(self) -> threading.Lock | None:
        return next((lock for lock in self.locks if not lock.locked()), None)

    def notify(self) -> None:
        """Wake a waiting thread if a lock is free: after one was released, and after one of several was acquired."""
        # Not in vain: a thread that wakes takes the interpreter lock from those that compute.
        if self._free() is not None:
            self._freed.notify()
