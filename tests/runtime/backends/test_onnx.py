"""The onnx backend, on graphs that are made without torch, and compared with a few lines of numpy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.bundles import make_bundle, make_writable
from tests.support.onnx_models import (
    DIMENSION,
    INPUTS,
    MAX_TOKENS,
    POOLING_INPUTS,
    SEP,
    TENSORS_NAME,
    Graph,
    changed,
    plan,
    reference,
    settings_json,
    tokenizer_json,
    variant_files,
    verified,
)
from thoth_models import (
    BackendError,
    BackendUnavailableError,
    EnvironmentFault,
    InvalidInputError,
    load_embedding,
)
from thoth_models.backends import import_libraries, load_backend
from thoth_models.inputs import MAX_CHARACTERS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from thoth_models.backends.onnx import OnnxBackend
    from thoth_models.types import FloatArray

pytestmark = pytest.mark.onnx

TOLERANCE = 1e-6
TEXTS = ("water", "a", "Rivers of water", "", "b c d e f g h i j k l m", "日本", "x y", "query: a", "river river a")
THREADS = 8


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., OnnxBackend]]:
    """Make a backend of a variant's files, as loading would."""
    roots: list[Path] = []

    def backend(files: dict[str, bytes] | None = None, *, max_seq_length: int | None = MAX_TOKENS) -> OnnxBackend:
        from thoth_models.backends.onnx import OnnxBackend

        roots.append(tmp_path / f"bundle-{len(roots)}")
        files = variant_files(tmp_path / "files") if files is None else files
        return OnnxBackend(verified(roots[-1], plan(files, max_seq_length=max_seq_length)))

    yield backend
    for root in roots:
        make_writable(root)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxBackend]:
    """A backend that no test changes."""
    from thoth_models.backends.onnx import OnnxBackend

    root = tmp_path_factory.mktemp("onnx")
    yield OnnxBackend(verified(root / "bundle", plan(variant_files(root / "files"))))
    make_writable(root / "bundle")


def encode(
    backend: OnnxBackend, texts: list[str], *, prompt: str | None = None, batch_size: int | None = None
) -> FloatArray:
    return backend.encode(texts, prompt=prompt, batch_size=batch_size, show_progress_bar=False)


def assert_close(found: FloatArray, expected: list[FloatArray]) -> None:
    assert found.dtype == np.float32
    assert found.shape == (len(expected), DIMENSION)
    assert np.abs(found - np.stack(expected)).max() <= TOLERANCE


def runs(backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list to which each run adds what the graph was given."""
    found: list[dict[str, Any]] = []
    run = backend._sessions.run

    def recorded(arrays: dict[str, Any]) -> FloatArray:
        found.append(arrays)
        return run(arrays)

    monkeypatch.setattr(backend._sessions, "run", recorded)
    return found


def bounded(backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch, most_tokens: int) -> None:
    """Set how many tokens a run has at most."""

    @contextlib.contextmanager
    def calling(_lengths: list[int]) -> Iterator[tuple[int, int]]:
        yield 1, most_tokens

    monkeypatch.setattr(backend._sessions, "calling", calling)


# What is encoded.


def test_vectors_are_in_the_order_of_the_texts(shared: OnnxBackend) -> None:
    assert_close(encode(shared, list(TEXTS)), [reference(tokenizer_json(), text) for text in TEXTS])
    assert_close(encode(shared, list(TEXTS[::-1])), [reference(tokenizer_json(), text) for text in TEXTS[::-1]])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    texts=st.lists(st.text(alphabet="abc #:日", max_size=30), min_size=1, max_size=12),
    batch_size=st.none() | st.integers(1, 13),
    most_tokens=st.integers(1, 64),
)
def test_batches_and_order_change_nothing(
    shared: OnnxBackend, texts: list[str], batch_size: int | None, most_tokens: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bounded(shared, patch, most_tokens)
        patch.setattr("thoth_models.backends.onnx._MAX_TEXTS", 5)
        found = encode(shared, texts, batch_size=batch_size)
    assert_close(found, [encode(shared, [text])[0] for text in texts])


def test_a_batch_is_as_long_as_its_own_longest_text(shared: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runs(shared, monkeypatch)
    encode(shared, ["a", "a b c d", "b", "a b c"], batch_size=2)
    assert [arrays["input_ids"].shape for arrays in found] == [(2, 6), (2, 3)]


def test_a_batch_has_no_more_tokens_than_its_bound(shared: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runs(shared, monkeypatch)
    bounded(shared, monkeypatch, 18)
    encode(shared, ["a b c d"] * 7)
    assert [arrays["input_ids"].shape for arrays in found] == [(3, 6), (3, 6), (1, 6)]


def test_a_batch_size_of_one_runs_each_text_alone(shared: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runs(shared, monkeypatch)
    assert_close(
        encode(shared, ["a", "b c"], batch_size=1), [reference(tokenizer_json(), text) for text in ("a", "b c")]
    )
    assert [len(arrays["input_ids"]) for arrays in found] == [1, 1]


def test_only_a_block_of_texts_is_tokenised_at_once(shared: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    tokenize = shared._tokenize

    def recorded(texts: list[str]) -> Any:
        sizes.append(len(texts))
        return tokenize(texts)

    monkeypatch.setattr(shared, "_tokenize", recorded)
    monkeypatch.setattr("thoth_models.backends.onnx._MAX_TEXTS", 4)
    monkeypatch.setattr("thoth_models.backends.onnx.MAX_CHARACTERS", 12)
    texts = ["a", "b", "c", "d", "e", "water water", "f", "a" * 30, "g"]
    assert_close(encode(shared, texts), [reference(tokenizer_json(), text) for text in texts])
    assert sizes == [4, 2, 1, 1, 1]
    shared.encode(["a", "b"], prompt="water water ", batch_size=None, show_progress_bar=False)
    assert sizes[5:] == [1, 1]


def test_long_texts_are_cut(shared: OnnxBackend) -> None:
    cut = " ".join("abcdefghijklmno"[: MAX_TOKENS - 2])
    longest = ("a b c d e f g h i j k l m n o " * MAX_CHARACTERS)[:MAX_CHARACTERS]
    for text in ("a b c d e f g h i j k l m n o", longest):
        assert_close(encode(shared, [text]), [encode(shared, [cut])[0]])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing_on_either_side(
    make: Callable[..., OnnxBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    backend = make(variant_files(tmp_path / "files", padding_side=side, pad_token_id=5, pad_token_type_id=1))
    found = runs(backend, monkeypatch)
    assert_close(encode(backend, ["a", "a b"]), [reference(tokenizer_json(), text) for text in ("a", "a b")])
    (arrays,) = found
    at = 0 if side == "left" else -1
    assert arrays["attention_mask"][:, at].tolist() == [1, 0]
    assert arrays["input_ids"][1, at] == 5
    assert arrays["token_type_ids"][1, at] == 1


def test_a_graph_may_take_fewer_inputs(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    inputs = ("attention_mask", "input_ids")
    backend = make(variant_files(tmp_path / "files", graph=Graph(inputs=inputs), inputs=list(inputs)))
    assert_close(encode(backend, ["a b"]), [reference(tokenizer_json(), "a b", segments=False)])


def test_a_prompt_is_put_before_each_text(shared: OnnxBackend) -> None:
    expected = [reference(tokenizer_json(), f"query: {text}") for text in TEXTS]
    assert_close(encode(shared, list(TEXTS), prompt="query: "), expected)
    assert np.array_equal(encode(shared, list(TEXTS), prompt=""), encode(shared, list(TEXTS)))


def excluding(make: Callable[..., OnnxBackend], tmp_path: Path, **changes: Any) -> OnnxBackend:
    return make(
        variant_files(
            tmp_path / "files",
            graph=Graph(inputs=POOLING_INPUTS),
            **{"inputs": list(POOLING_INPUTS), "excludes_prompt": True, **changes},
        )
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokens_of_a_prompt_may_be_left_out_of_pooling(
    make: Callable[..., OnnxBackend], tmp_path: Path, side: str
) -> None:
    """Three tokens: [CLS], "query" and ":"; the [SEP] that ends the prompt alone is not one of a text's."""
    backend = excluding(make, tmp_path, padding_side=side)
    expected = [reference(tokenizer_json(), f"query: {text}", skipped=3) for text in TEXTS]
    for _ in range(2):  # the second time its length is known
        assert_close(encode(backend, list(TEXTS), prompt="query: "), expected)
    assert_close(encode(backend, ["a"]), [reference(tokenizer_json(), "a")])


def test_a_prompt_that_ends_in_an_unknown_word_counts_one_token_less(
    make: Callable[..., OnnxBackend], tmp_path: Path
) -> None:
    """The unknown token is a special one too, to sentence-transformers as well."""
    tokenizer = tokenizer_json(special=False)
    backend = excluding(make, tmp_path, tokenizer=tokenizer)
    assert_close(encode(backend, ["a"], prompt="query 日 "), [reference(tokenizer, "query 日 a", skipped=1)])
    assert_close(encode(backend, ["a"], prompt="query : "), [reference(tokenizer, "query : a", skipped=2)])


def test_a_prompt_without_tokens_leaves_nothing_out(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    tokenizer = tokenizer_json(special=False)
    backend = excluding(make, tmp_path, tokenizer=tokenizer)
    assert_close(encode(backend, ["a"], prompt=" "), [reference(tokenizer, "a")])


def test_the_lengths_of_prompts_do_not_pile_up(
    make: Callable[..., OnnxBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = excluding(make, tmp_path)
    monkeypatch.setattr("thoth_models.backends.onnx._MAX_TEXTS", 3)
    for number in range(10):
        encode(backend, ["a"], prompt=f"query {number}: ")
        assert len(backend._prompt_lengths) <= 3
    assert len(backend._prompt_lengths) >= 1


def test_texts_without_tokens(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    """As static embeddings have them: no special tokens, no limit, and zeros where there is nothing to look up."""
    tokenizer = tokenizer_json(max_tokens=None)
    backend = make(
        variant_files(tmp_path / "files", tokenizer=tokenizer, add_special_tokens=False, max_tokens=None),
        max_seq_length=None,
    )
    texts = ["", "a b", " ", "water"]
    expected = [reference(tokenizer, text, special=False) for text in texts]
    assert_close(encode(backend, texts), expected)
    assert_close(encode(backend, ["", ""]), [expected[0], expected[0]])
    assert not expected[0].any()


def test_progress_is_a_line_on_standard_error(shared: OnnxBackend, capsys: pytest.CaptureFixture[str]) -> None:
    encode(shared, ["a"] * 3)
    assert capsys.readouterr().err == ""
    shared.encode(["a"] * 3, prompt=None, batch_size=2, show_progress_bar=True)
    shown = capsys.readouterr()
    assert shown.err == "\rencoded 2 of 3 texts\rencoded 3 of 3 texts\n"
    assert shown.out == ""


# Threads.


def test_threads_may_encode_at_once(shared: OnnxBackend) -> None:
    start = threading.Barrier(THREADS)
    texts = [
        [f"{chr(97 + (number + shift) % 26)} water" * (shift % 4) for shift in range(40)] for number in range(THREADS)
    ]
    expected = [[reference(tokenizer_json(), text) for text in own] for own in texts]

    def work(own: list[str]) -> list[FloatArray]:
        start.wait(timeout=60)
        return [encode(shared, own) for _ in range(5)]

    with ThreadPoolExecutor(THREADS) as pool:
        for found, wanted in zip(pool.map(work, texts), expected, strict=True):
            for vectors in found:
                assert_close(vectors, wanted)


class AsItWasRead:
    """Stand in for a tokenizer, of which a backend may ask and must change nothing."""

    def __init__(self, tokenizer: Any) -> None:
        object.__setattr__(self, "_tokenizer", tokenizer)

    def __getattr__(self, name: str) -> Any:
        assert name in {"encode_batch_fast", "get_added_tokens_decoder"}, f"the shared tokenizer: {name}"
        return getattr(self._tokenizer, name)

    def __setattr__(self, name: str, _value: object) -> None:
        raise AssertionError(f"the shared tokenizer: {name} is set")


def test_the_tokenizer_is_set_up_once(
    make: Callable[..., OnnxBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 19: tokenizers before 0.23 refuse to be set up while another thread uses them ("Already borrowed")."""
    backend = excluding(make, tmp_path)
    monkeypatch.setattr(backend, "_tokenizer", AsItWasRead(backend._tokenizer))
    for batch_size in (None, 1):
        assert len(encode(backend, list(TEXTS), prompt="query: ", batch_size=batch_size)) == len(TEXTS)


class Gate:
    """Stand in for the runs of a backend's sessions, and hold them until as many as are ``expected`` are inside."""

    def __init__(self, backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch, *, expected: int) -> None:
        self.expected = expected
        self.threads: list[int] = []
        """Threads of the session of each run."""
        self.most = self._inside = 0
        self._lock, self._full = threading.Lock(), threading.Event()
        self._run = backend._sessions._run
        monkeypatch.setattr(backend._sessions, "_run", self.run)

    def run(self, session: Any, arrays: dict[str, Any]) -> FloatArray:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self.threads.append(session.get_session_options().intra_op_num_threads)
            if self._inside >= self.expected:
                self._full.set()
        # As many as may run are seen at once; then a moment for one more than that.
        self._full.wait(timeout=20)
        time.sleep(0.02)
        try:
            return self._run(session, arrays)
        finally:
            with self._lock:
                self._inside -= 1


@pytest.mark.parametrize(("threads", "callers", "at_once"), [(1, 8, 1), (2, 8, 2), (4, 8, 4), (4, 2, 2), (16, 8, 8)])
def test_not_every_caller_takes_memory_for_a_run_at_once(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch, threads: int, callers: int, at_once: int
) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", str(threads))
    backend = make()
    gate = Gate(backend, monkeypatch, expected=at_once)
    start = threading.Barrier(callers)

    # As if all of them had come before the first one runs.
    backend._sessions._callers.update({-number: 1 for number in range(callers)})

    def work(text: str) -> FloatArray:
        start.wait(timeout=60)
        return encode(backend, [text])

    with ThreadPoolExecutor(callers) as pool:
        found = list(pool.map(work, "abcdefgh"[:callers]))
    assert gate.most == at_once
    assert_close(np.concatenate(found), [reference(tokenizer_json(), text) for text in "abcdefgh"[:callers]])


@pytest.mark.parametrize(("threads", "callers", "each"), [(2, 1, 2), (2, 2, 1), (4, 2, 4), (4, 3, 1), (1, 1, 1)])
def test_a_run_has_all_threads_until_callers_could_use_the_cores(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch, threads: int, callers: int, each: int
) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", str(threads))
    backend = make()
    gate = Gate(backend, monkeypatch, expected=1)
    others = {-number: 1 for number in range(1, callers)}
    backend._sessions._callers.update(others)
    encode(backend, ["a b"])
    with backend._sessions.calling([1]) as planned:
        assert planned == (1, 192 * each)
    assert backend._sessions._callers == others
    backend._sessions._callers.clear()
    encode(backend, ["a b"])
    assert gate.threads == [each, threads]


@pytest.mark.parametrize(("threads", "texts", "used"), [(2, 400, 2), (3, 400, 3), (2, 20, 0), (1, 400, 0)])
def test_many_texts_of_a_lone_caller_are_divided_between_threads(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch, threads: int, texts: int, used: int
) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", str(threads))
    backend = make()
    seen: set[int] = set()
    gate = Gate(backend, monkeypatch, expected=max(1, used))
    run = gate._run

    def recorded(session: Any, arrays: dict[str, Any]) -> FloatArray:
        seen.add(threading.get_ident())
        return run(session, arrays)

    gate._run = recorded
    words = [f"{'a b c d e f'[: 1 + 2 * (number % 6)]} {chr(97 + number % 26)}" for number in range(texts)]
    assert_close(encode(backend, words), [reference(tokenizer_json(), word) for word in words])
    if used:
        assert len(seen) == used
        assert set(gate.threads) == {1}
    else:
        assert seen == {threading.get_ident()}
    assert backend._sessions._callers == {}


def test_a_failure_in_one_thread_ends_the_call(
    make: Callable[..., OnnxBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", "2")
    backend = make(variant_files(tmp_path / "files", pad_token_id=10_000))
    with pytest.raises(BackendError, match=r"^onnxruntime could not run model\.onnx: .*10000"):
        encode(backend, ["a b c d", "a"] * 300)


def test_a_call_that_fails_is_not_counted_for_ever(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    backend = make(variant_files(tmp_path / "files", pad_token_id=10_000))
    for _ in range(3):
        with pytest.raises(BackendError):
            encode(backend, ["a", "a b"])
    assert backend._sessions._callers == {}


_INTERRUPTED = """
import random, signal, sys, threading, time
from thoth_models import load_embedding

class Limit(Exception):
    pass  # as Celery's SoftTimeLimitExceeded

def interrupt(*_):
    raise Limit

embedding = load_embedding("mini", root=sys.argv[1])
chance, raised = random.Random(5), 0
signal.signal(signal.SIGALRM, interrupt)
deadline = time.monotonic() + 4
while time.monotonic() < deadline:
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
        try:
            while True:
                embedding.encode(["a b", "water"])
        except Limit:
            raised += 1
    except Limit:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
sessions = embedding._backend._backend._sessions
locked = [lock.locked() for lock in (*sessions._wide_slots.locks, *sessions._narrow_slots.locks)]
thread = threading.Thread(target=embedding.encode, args=(["a b"],), daemon=True)
thread.start()
thread.join(30)
print(raised > 100, any(locked), thread.is_alive())
"""


def test_what_a_signal_handler_raises_reaches_the_caller_and_costs_no_turn(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In a process of its own: what measures coverage has a lock that an interrupt leaves locked."""
    root = tmp_path / "bundle"
    make_bundle(root, [plan(variant_files(tmp_path / "files"))], default="mini")
    done = run_python("-c", _INTERRUPTED, str(root), environment={"THOTH_MODELS_THREADS": "2"})
    make_writable(root)
    assert done.stdout == "True False False\n", done.stderr


_ENDING = """
import sys, threading, time
from thoth_models import load_embedding

embedding = load_embedding("mini", root=sys.argv[1])

def work():
    while True:
        embedding.encode(["a b c d"] * 400)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""


def test_a_process_can_end_while_daemon_threads_compute(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [plan(variant_files(tmp_path / "files"))], default="mini")
    ends = [run_python("-c", _ENDING, str(root)) for _ in range(5)]
    make_writable(root)
    assert [(end.returncode, end.stderr) for end in ends] == [(0, "")] * 5


def test_nothing_is_looked_up_once_it_is_loaded(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A volume may be gone by then, or silent; what is loaded is in memory."""
    monkeypatch.setenv("THOTH_MODELS_THREADS", "2")
    backend = make(variant_files(tmp_path / "files"))
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    words = [f"{chr(97 + number % 26)} b" for number in range(600)]
    expected = [reference(tokenizer_json(), word) for word in words]
    assert_close(encode(backend, words), expected)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: encode(backend, words[:3]), range(40)):
            assert_close(found, expected[:3])


def test_the_number_of_threads_is_set(make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", "3")
    options = make()._sessions._wide.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


def test_a_wrong_number_of_threads_is_not_passed_over(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", "many")
    with pytest.raises(EnvironmentFault, match="THOTH_MODELS_THREADS") as caught:
        make()
    assert not isinstance(caught.value, BackendError)


def test_the_weights_are_packed_only_where_that_pays(tmp_path: Path) -> None:
    from thoth_models.backends.onnx import OnnxBackend

    for precision, packing in (("fp32", "1"), ("int8", None)):
        files = variant_files(tmp_path / "files")
        backend = OnnxBackend(verified(tmp_path / precision, plan(files, precision=precision)))
        options = backend._sessions._wide.get_session_options()
        if packing is None:
            with pytest.raises(RuntimeError):
                options.get_session_config_entry("session.disable_prepacking")
        else:
            assert options.get_session_config_entry("session.disable_prepacking") == packing
        make_writable(tmp_path / precision)


# What it is made of.


@pytest.mark.hostile
def test_no_file_is_opened_again_once_it_was_compared(tmp_path: Path) -> None:
    from thoth_models.backends.onnx import OnnxBackend

    files = variant_files(tmp_path / "files")
    found = verified(tmp_path / "bundle", plan(files))
    make_writable(tmp_path / "bundle")
    for name, data in files.items():
        # Another file at the same path, as an attacker, or a careless update, would put it there.
        found.directory.joinpath(name).unlink()
        found.directory.joinpath(name).write_bytes(bytes(len(data)))
    backend = OnnxBackend(found)
    assert_close(encode(backend, list(TEXTS)), [reference(tokenizer_json(), text) for text in TEXTS])


def test_sessions_share_the_pages_that_were_compared(tmp_path: Path) -> None:
    from thoth_models.backends.onnx_sessions import WEIGHTS_NAME, Graph

    found = verified(tmp_path / "bundle", plan(variant_files(tmp_path / "files")))
    pages = np.frombuffer(found.contents[WEIGHTS_NAME], dtype=np.uint8)
    weights = Graph.of(found).weights
    assert set(weights) == {"tokens", "places"}
    start = pages.__array_interface__["data"][0]
    assert all(start <= weight.data_ptr() < start + pages.nbytes for weight in weights.values())
    make_writable(tmp_path / "bundle")


# What cannot be loaded.

WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a newer version": ({"version": 2}, "version: expected 1, found 2"),
    "no version": ({"version": ...}, "expected the key 'version'"),
    "no inputs": ({"inputs": ...}, "expected the key 'inputs'"),
    "an unknown input": ({"inputs": ["input_ids", "pixels"]}, r'inputs\[1\]: expected .*, found "pixels"'),
    "inputs that are not sorted": ({"inputs": ["input_ids", "attention_mask"]}, "inputs: expected a sorted list"),
    "no ids": ({"inputs": ["attention_mask"]}, "inputs: expected input_ids among them"),
    "no word on special tokens": ({"add_special_tokens": ...}, "expected the key 'add_special_tokens'"),
    "special tokens that are a number": ({"add_special_tokens": 1}, "add_special_tokens: expected a boolean"),
    "no padding": ({"pad_token_id": ...}, "expected the key 'pad_token_id'"),
    "padding below zero": ({"pad_token_id": -1}, "pad_token_id: expected an integer of at least 0"),
    "no segment of padding": ({"pad_token_type_id": ...}, "expected the key 'pad_token_type_id'"),
    "a segment in words": ({"pad_token_type_id": "0"}, "pad_token_type_id: expected an integer"),
    "no side": ({"padding_side": ...}, "expected the key 'padding_side'"),
    "a side that is none": ({"padding_side": "top"}, 'padding_side: expected "left" or "right", found "top"'),
    "no limit": ({"max_tokens": ...}, "expected the key 'max_tokens'"),
    "a limit of zero": ({"max_tokens": 0}, "max_tokens: expected an integer of at least 1"),
    "no word on prompts": ({"excludes_prompt": ...}, "expected the key 'excludes_prompt'"),
    "prompts without a mask": ({"excludes_prompt": True}, "excludes_prompt: expected true exactly if pooling_mask"),
    "a mask without prompts": ({"inputs": list(POOLING_INPUTS)}, "excludes_prompt: expected true exactly if"),
    "a key of a later release": ({"stride": 3}, "expected only the keys .*, found 'stride'"),
}


@pytest.mark.hostile
@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_settings_that_are_not_understood(make: Callable[..., OnnxBackend], tmp_path: Path, name: str) -> None:
    changes, message = WRONG_SETTINGS[name]
    with pytest.raises(BackendError, match=f"^settings.json cannot be read: .*{message}"):
        make(variant_files(tmp_path / "files", **changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"version":1,"version":1}'])
def test_settings_that_are_no_table(make: Callable[..., OnnxBackend], tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BackendError, match=r"^settings\.json cannot be read: "):
        make({**variant_files(tmp_path / "files"), "settings.json": data})


@pytest.mark.parametrize(
    "name", ["settings.json", "tokenizer.json", "model.onnx", "model.onnx.data", "model.onnx.tensors.json"]
)
def test_a_file_that_is_not_there(make: Callable[..., OnnxBackend], tmp_path: Path, name: str) -> None:
    files = variant_files(tmp_path / "files")
    del files[name]
    with pytest.raises(BackendError, match=r"settings\.json|tokenizer\.json|model\.onnx"):
        make(files)


@pytest.mark.hostile
@pytest.mark.parametrize("data", [b"", b"not a graph", b"\x08\x0a" * 50])
def test_a_graph_that_is_none(
    make: Callable[..., OnnxBackend], tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match=r"^onnxruntime could not load model\.onnx: "):
        make({**variant_files(tmp_path / "files"), "model.onnx": data})
    assert capfd.readouterr().err == ""


@pytest.mark.hostile
def test_weights_that_are_too_short(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    files = variant_files(tmp_path / "files")
    with pytest.raises(BackendError, match=r"^onnxruntime could not load model\.onnx: "):
        make({**files, "model.onnx.data": files["model.onnx.data"][:100]})


def test_a_variant_without_the_list_of_its_weights_says_so(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    files = variant_files(tmp_path / "files")
    del files[TENSORS_NAME]
    with pytest.raises(BackendError, match=r"expected model\.onnx\.tensors\.json in the variant, found model\.onnx, "):
        make(files)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("offset", 2**40, r"places: expected to lie within the \d+ bytes of the weights, found "),
        ("type", "float64", r"tensors\[0\]\.length: expected \d+ bytes for float64"),
    ],
)
def test_a_list_of_weights_that_is_not_that_of_the_graph(
    make: Callable[..., OnnxBackend], tmp_path: Path, key: str, value: object, message: str
) -> None:
    files = variant_files(tmp_path / "files")
    document = json.loads(files[TENSORS_NAME])
    document["tensors"] = [tensor for tensor in document["tensors"] if tensor["name"] == "places"]
    document["tensors"][0][key] = value
    with pytest.raises(BackendError, match=rf"^onnxruntime could not load model\.onnx: .*{message}"):
        make({**files, TENSORS_NAME: json.dumps(document).encode()})


@pytest.mark.hostile
def test_a_tensor_of_the_graph_that_the_list_lacks(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    """onnxruntime would read it from the file itself, and not the bytes that were compared."""
    files = variant_files(tmp_path / "files")
    document = json.loads(files[TENSORS_NAME])
    name = document["tensors"].pop()["name"]
    with pytest.raises(BackendError, match=rf"^onnxruntime could not load model\.onnx: .*{name}.* file_length: 0"):
        make({**files, TENSORS_NAME: json.dumps(document).encode()})


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph(inputs=("attention_mask", "input_ids")), "model.onnx: inputs: expected .*token_type_ids"),
        (Graph(inputs=POOLING_INPUTS), "model.onnx: inputs: expected .* found .*pooling_mask"),
        (Graph(integers="INT32"), r"model.onnx: inputs: expected .*tensor\(int64\).*, found .*tensor\(int32\)"),
        (Graph(output="v"), "model.onnx: outputs: expected .*sentence_embedding.*, found .*'v'"),
        (Graph(dimension=DIMENSION - 1), r"model.onnx: outputs: expected .*\[8\].*, found .*\[7\]"),
    ],
)
def test_a_graph_of_another_shape(make: Callable[..., OnnxBackend], tmp_path: Path, graph: Graph, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        make(variant_files(tmp_path / "files", graph=graph))


@pytest.mark.hostile
@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b'{"version":"1.0","model":{"type":"Other"}}'])
def test_a_tokenizer_that_is_none(make: Callable[..., OnnxBackend], tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BackendError, match=r"^tokenizer\.json cannot be read: "):
        make(variant_files(tmp_path / "files", tokenizer=data))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("tokenizer", "max_seq_length", "message"),
    [
        ({"padding": True}, MAX_TOKENS, "tokenizer.json: padding: expected None, found "),
        ({"max_tokens": 9}, MAX_TOKENS, "tokenizer.json: truncation: expected 10, found 9"),
        ({"max_tokens": None}, MAX_TOKENS, "tokenizer.json: truncation: expected 10, found None"),
        ({}, 12, "settings.json: max_tokens: expected 12, found 10"),
    ],
)
def test_a_tokenizer_that_cuts_or_pads_otherwise(
    make: Callable[..., OnnxBackend], tmp_path: Path, tokenizer: dict[str, Any], max_seq_length: int, message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        make(variant_files(tmp_path / "files", tokenizer=tokenizer_json(**tokenizer)), max_seq_length=max_seq_length)


def test_a_tokenizer_that_fails_at_its_work(
    make: Callable[..., OnnxBackend], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A fault in its own code, which is no Exception: a text's tokens name one that the file does not have."""
    tokenizer = changed(tokenizer_json(), "post_processor", "special_tokens", value={})
    backend = make(variant_files(tmp_path / "files", tokenizer=tokenizer))
    with pytest.raises(BackendError, match=r"^texts\[0\]: the tokenizer failed: PanicException: "):
        encode(backend, ["a"])
    assert "panicked" in capfd.readouterr().err


def test_a_graph_that_fails_at_its_work(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    backend = make(variant_files(tmp_path / "files", tokenizer=changed(tokenizer_json(), "post_processor", value=None)))
    assert encode(backend, ["a"]).shape == (1, DIMENSION)
    broken = make(variant_files(tmp_path / "files", pad_token_id=10_000))
    with pytest.raises(BackendError, match=r"^onnxruntime could not run model\.onnx: .*10000"):
        encode(broken, ["a", "a b"])


def with_a_token_too_many() -> bytes:
    """Return a tokenizer with a token for which the graph has no row."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json().decode())
    tokenizer.add_tokens(["flood"])
    return tokenizer.to_str().encode()


@pytest.mark.hostile
@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_text_that_makes_the_graph_fail_is_named(
    make: Callable[..., OnnxBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int | None
) -> None:
    monkeypatch.setattr("thoth_models.backends.onnx._MAX_TEXTS", 16)
    backend = make(variant_files(tmp_path / "files", tokenizer=with_a_token_too_many()))
    texts = ["river " * (index % 5) for index in range(50)]
    assert encode(backend, texts).shape == (50, DIMENSION)
    texts[37] = "a flood"
    with pytest.raises(BackendError, match=r"^texts\[37\]: onnxruntime could not run model\.onnx: .*out of"):
        encode(backend, texts, batch_size=batch_size)


def test_a_text_without_tokens_is_named(make: Callable[..., OnnxBackend], tmp_path: Path) -> None:
    """A transformer has no vector of it. Static embeddings, which ask for no special tokens, have: zeros."""
    tokenizer = tokenizer_json(special=False)
    backend = make(variant_files(tmp_path / "files", tokenizer=tokenizer))
    assert encode(backend, ["a", "b"]).shape == (2, DIMENSION)
    with pytest.raises(InvalidInputError, match=r"^texts\[1\]: expected at least one token, found none"):
        encode(backend, ["a", "", "b"])
    assert encode(backend, ["a", ""], prompt="query: ").shape == (2, DIMENSION)
    static = make(variant_files(tmp_path / "static", tokenizer=tokenizer, add_special_tokens=False))
    assert not encode(static, ["a", ""])[1].any()


@pytest.mark.hostile
def test_a_graph_that_gives_something_else_than_vectors(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make()
    monkeypatch.setattr(backend._sessions, "_run", lambda *_: np.zeros((1, DIMENSION), dtype=np.float64))
    with pytest.raises(BackendError, match=r"expected float32 of shape \(1, 8\), found float64"):
        encode(backend, ["a"])


def test_an_interrupt_is_not_taken_for_a_failure(
    make: Callable[..., OnnxBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> FloatArray:
        raise KeyboardInterrupt

    backend = make()
    monkeypatch.setattr(backend._sessions, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(backend, ["a"])


@pytest.mark.parametrize("library", ["onnxruntime", "tokenizers"])
def test_a_library_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    found = verified(tmp_path / "bundle", plan(variant_files(tmp_path / "files")))
    for module in ("onnx", "onnx_sessions"):
        monkeypatch.delitem(sys.modules, f"thoth_models.backends.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    import_libraries("onnx")  # what goes wrong there is said later
    with pytest.raises(BackendUnavailableError, match=r"cannot be imported .*install thoth-models\[onnx\]"):
        load_backend(found)
    make_writable(tmp_path / "bundle")


# As callers see it.


@pytest.mark.hostile
def test_loading_and_encoding_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("the network was used")

    make_bundle(tmp_path / "bundle", [plan(variant_files(tmp_path / "files"))], default="mini")
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    embedding = load_embedding(root=tmp_path / "bundle")
    assert embedding.info.variant == "onnx-fp32"
    assert_close(embedding.encode(list(TEXTS)), [reference(tokenizer_json(), text) for text in TEXTS])
    make_writable(tmp_path / "bundle")


def test_no_large_library_is_imported(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    make_bundle(tmp_path / "bundle", [plan(variant_files(tmp_path / "files"))], default="mini")
    program = (
        "import sys, thoth_models\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "print(thoth_models.load_embedding(root=sys.argv[1]).encode('water').shape)\n"
        "print(sorted(sys.modules.keys() & "
        "{'onnxruntime', 'tokenizers', 'torch', 'transformers', 'huggingface_hub', 'sentence_transformers'}))\n"
    )
    finished = run_python("-c", program, str(tmp_path / "bundle"))
    assert finished.stderr == ""
    assert finished.stdout == "(8,)\n['onnxruntime', 'tokenizers']\n"
    make_writable(tmp_path / "bundle")


def test_the_settings_of_these_tests_are_what_the_backend_reads() -> None:
    """The positive control of the wrong ones."""
    from thoth_models.backends.onnx import Settings

    found = Settings.from_bytes(settings_json())
    assert (found.inputs, found.max_tokens, found.padding.token_id) == (INPUTS, MAX_TOKENS, 0)
    assert found.padding.token_id != SEP


class PanicException(BaseException):
    pass


def test_texts_are_encoded_without_the_threads_that_the_system_refuses(
    shared: OnnxBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = encode(shared, ["a", "b"])
    tokenizer = shared._tokenizer

    class Refused:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            if os.environ["TOKENIZERS_PARALLELISM"] != "false":
                raise PanicException("ThreadPoolBuildError { kind: IOError }")
            return tokenizer.encode_batch_fast(texts, **options)

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.setattr(shared, "_tokenizer", Refused())
    assert np.array_equal(encode(shared, ["a", "b"]), expected)
