"""Small calls that come while another one runs are run together; a lone one runs at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import FakeBackend
from tests.support.waiting import until
from thoth_models import BackendError, InvalidInputError, LoadTimeout
from thoth_models.backends.batching_backend import BatchingBackend, _Call
from thoth_models.process import signals

if TYPE_CHECKING:
    from thoth_models.types import FloatArray

SECONDS = 30.0


class SlowBackend(FakeBackend):
    """Each run takes until the test lets it end; keeps the texts of each run."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[list[str]] = []
        self.may_end = threading.Semaphore(0)
        self.error: BaseException | None = None
        self.bad: str | None = None

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        self.runs.append(texts)
        assert self.may_end.acquire(timeout=SECONDS)
        if self.bad is not None and self.bad in texts:
            raise ValueError(self.bad)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return super().encode(texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar)


class Callers:
    """Threads that each make one call."""

    def __init__(self, backend: BatchingBackend) -> None:
        self.backend = backend
        self.found: dict[str, Any] = {}
        self.threads: list[threading.Thread] = []

    def call(self, texts: list[str], prompt: str | None = None, name: str | None = None) -> None:
        def work() -> None:
            try:
                found: Any = encode(self.backend, texts, prompt)
            except BaseException as error:  # noqa: BLE001
                found = error
            self.found[name or texts[0]] = found

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.threads.append(thread)

    def end(self) -> None:
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


def encode(backend: BatchingBackend, texts: list[str], prompt: str | None = None) -> FloatArray:
    return backend.encode(texts, prompt=prompt, batch_size=None, show_progress_bar=False)


def expected(texts: list[str], prompt: str | None = None) -> FloatArray:
    return np.stack([FakeBackend().vector(text, prompt) for text in texts])


@pytest.fixture
def slow() -> SlowBackend:
    return SlowBackend()


def begun(slow: SlowBackend, waiting: int) -> tuple[BatchingBackend, Callers]:
    """One call that runs, and behind it as many as wait, of one to three texts each."""
    backend = BatchingBackend(slow)
    callers = Callers(backend)
    callers.call(["first"])
    until(lambda: slow.runs)
    for number in range(waiting):
        callers.call([f"{number}-{part}" for part in range(1 + number % 3)])
        until(lambda number=number: len(backend._waiting) == number + 1)
    return backend, callers


def test_a_lone_call_runs_at_once_and_alone() -> None:
    fake = FakeBackend()
    backend = BatchingBackend(fake)
    assert np.array_equal(encode(backend, ["a", "b"]), expected(["a", "b"]))
    assert fake.texts == ["a", "b"]


def test_calls_that_come_meanwhile_run_together_and_each_gets_its_own(slow: SlowBackend) -> None:
    _, callers = begun(slow, 5)
    slow.may_end.release(2)
    callers.end()
    assert len(slow.runs) == 2
    assert slow.runs[1] == ["0-0", "1-0", "1-1", "2-0", "2-1", "2-2", "3-0", "4-0", "4-1"]
    assert np.array_equal(callers.found["first"], expected(["first"]))
    assert np.array_equal(callers.found["2-0"], expected(["2-0", "2-1", "2-2"]))
    assert np.array_equal(callers.found["4-0"], expected(["4-0", "4-1"]))


def test_what_one_caller_keeps_does_not_keep_the_vectors_of_others(slow: SlowBackend) -> None:
    _, callers = begun(slow, 3)
    slow.may_end.release(2)
    callers.end()
    vectors = callers.found["1-0"]
    assert isinstance(vectors, np.ndarray)
    assert vectors.base is None


def test_calls_of_another_prompt_run_apart(slow: SlowBackend) -> None:
    backend, callers = begun(slow, 1)
    callers.call(["q"], "query: ")
    until(lambda: len(backend._waiting) == 2)
    callers.call(["empty"], "")
    until(lambda: len(backend._waiting) == 3)
    slow.may_end.release(3)
    callers.end()
    assert slow.runs == [["first"], ["0-0", "empty"], ["q"]]
    assert np.array_equal(callers.found["q"], expected(["q"], "query: "))


def test_a_run_is_bounded(slow: SlowBackend) -> None:
    backend = BatchingBackend(slow)
    callers = Callers(backend)
    callers.call(["first"])
    until(lambda: slow.runs)
    for number in range(20):
        callers.call([f"{number}-{part}" for part in range(16)])
    until(lambda: len(backend._waiting) == 20)
    slow.may_end.release(10)
    callers.end()
    assert [len(run) for run in slow.runs] == [1, 256, 64]


@pytest.mark.parametrize(
    ("count", "batch_size", "shown"), [(17, None, False), (2, 3, False), (2, None, True)], ids=["many", "size", "shown"]
)
def test_a_call_that_is_a_batch_goes_straight_to_the_backend(
    slow: SlowBackend, count: int, batch_size: int | None, *, shown: bool
) -> None:
    backend, callers = begun(slow, 1)
    texts = [f"big {number}" for number in range(count)]
    thread = threading.Thread(
        target=lambda: backend.encode(texts, prompt=None, batch_size=batch_size, show_progress_bar=shown)
    )
    thread.start()
    until(lambda: len(slow.runs) == 2)
    assert slow.runs == [["first"], texts], "it waited for the one that runs"
    slow.may_end.release(3)
    thread.join(SECONDS)
    callers.end()
    assert slow.batch_sizes.count(batch_size) >= 1


def test_an_error_reaches_the_call_whose_texts_are_at_fault_and_no_other(slow: SlowBackend) -> None:
    _, callers = begun(slow, 4)
    slow.bad = "2-1"
    slow.may_end.release(20)
    callers.end()
    assert isinstance(callers.found.pop("2-0"), ValueError)
    assert len(callers.found) == 4
    for texts in (["first"], ["0-0"], ["1-0", "1-1"], ["3-0"]):
        assert np.array_equal(callers.found[texts[0]], expected(texts))


@pytest.mark.parametrize("kind", [BackendError, InvalidInputError])
def test_an_error_names_the_index_in_the_list_of_its_caller(slow: SlowBackend, kind: type[Exception]) -> None:
    """Not that in the texts of all calls, which a backend sees together."""

    def encode_naming(texts: list[str], **options: Any) -> FloatArray:
        if "2-1" in texts:
            assert slow.may_end.acquire(timeout=SECONDS)
            raise kind(f"texts[{texts.index('2-1')}]: out of range")
        return encode_alone(texts, **options)

    encode_alone = slow.encode
    slow.encode = encode_naming  # type: ignore[method-assign]
    _, callers = begun(slow, 4)
    slow.may_end.release(20)
    callers.end()
    found = callers.found.pop("2-0")
    assert isinstance(found, kind)
    assert str(found) == "texts[1]: out of range"
    assert len(callers.found) == 4
    for texts in (["first"], ["0-0"], ["1-0", "1-1"], ["3-0"]):
        assert np.array_equal(callers.found[texts[0]], expected(texts))


def test_an_interrupt_ends_the_call_that_it_hits_and_the_others_are_run(slow: SlowBackend) -> None:
    _, callers = begun(slow, 3)
    slow.error = KeyboardInterrupt()
    slow.may_end.release(20)
    callers.end()
    assert isinstance(callers.found.pop("first"), KeyboardInterrupt)
    assert len(callers.found) == 3
    for texts in (["0-0"], ["1-0", "1-1"], ["2-0", "2-1", "2-2"]):
        assert np.array_equal(callers.found[texts[0]], expected(texts))


def test_an_interrupt_of_whoever_runs_for_others(slow: SlowBackend) -> None:
    backend, callers = begun(slow, 3)
    slow.may_end.release(1)
    until(lambda: len(slow.runs) == 2)
    assert backend._waiting == []
    slow.error = KeyboardInterrupt()
    slow.may_end.release(20)
    callers.end()
    assert isinstance(callers.found["0-0"], KeyboardInterrupt)
    for texts in (["1-0", "1-1"], ["2-0", "2-1", "2-2"]):
        assert np.array_equal(callers.found[texts[0]], expected(texts))
    assert slow.runs[2:] == [["1-0", "1-1", "2-0", "2-1", "2-2"]], "they were put back, and run together"
    assert np.array_equal(encode(backend, ["later"]), expected(["later"]))


def test_a_child_does_not_wait_for_calls_of_its_parent(slow: SlowBackend) -> None:
    """What a fork does to it in the child, done in this process."""
    backend, callers = begun(slow, 2)
    backend._lock.acquire()
    backend.after_fork_in_child()
    slow.may_end.release(20)
    assert np.array_equal(encode(backend, ["child"]), expected(["child"]))
    del callers  # those of the parent: nobody comes to wake them here


def test_many_callers_get_their_own() -> None:
    backend = BatchingBackend(FakeBackend())
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(200):
            texts = [f"{number} {turn} {part}" for part in range(1 + turn % 4)]
            prompt = None if turn % 5 else "p: "
            if not np.array_equal(encode(backend, texts, prompt), expected(texts, prompt)):
                wrong.append(texts[0])

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert wrong == []


def test_whoever_waits_longest_is_run_first_whatever_its_prompt(slow: SlowBackend) -> None:
    """Beside a thread that never rests, a question with another prompt than its texts would wait for ever."""
    backend = BatchingBackend(slow)
    slow.may_end.release(3)
    older = [_Call(["a question"], "query: "), _Call(["another"], "query: "), _Call(["a title"], "title: ")]
    backend._waiting += older
    assert np.array_equal(encode(backend, ["a text"], "passage: "), expected(["a text"], "passage: "))
    assert slow.runs == [["a question", "another"], ["a title"], ["a text"]]
    assert all(call.is_done for call in older)


def test_what_is_not_about_texts_is_not_tried_again_for_each_call(slow: SlowBackend) -> None:
    """A model that cannot be loaded again would be waited for as often as there are callers, each time to the end."""
    _, callers = begun(slow, 3)
    slow.may_end.release()
    until(lambda: len(slow.runs) == 2)
    slow.error = LoadTimeout("too late")
    slow.may_end.release()
    callers.end()
    assert len(slow.runs) == 2
    errors = [callers.found[f"{number}-0"] for number in range(3)]
    assert [str(error) for error in errors] == ["too late"] * 3
    assert len({id(error) for error in errors}) == 3


def test_whoever_waits_is_told(slow: SlowBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its vectors, and of its turn: looking again is for what an interrupt takes away."""
    monkeypatch.setattr(signals, "POLL_SECONDS", 4 * SECONDS)
    backend, callers = begun(slow, 3)
    callers.call(["question"], "query: ")
    until(lambda: len(backend._waiting) == 4)
    slow.may_end.release(3)
    callers.end()
    assert len(slow.runs) == 3


class Interrupting:
    """A lock at which a signal handler raises."""

    def locked(self) -> bool:
        raise KeyboardInterrupt


def test_a_call_that_was_interrupted_is_not_run_for_nobody(slow: SlowBackend) -> None:
    backend = BatchingBackend(slow)
    running, backend._running = backend._running, Interrupting()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        encode(backend, ["interrupted"])
    backend._running = running
    slow.may_end.release(2)
    assert np.array_equal(encode(backend, ["later"]), expected(["later"]))
    assert slow.runs == [["later"]]


class TooLate:
    """A lock that another one had meanwhile, who ran what waits."""

    def __init__(self, backend: BatchingBackend) -> None:
        self._backend = backend

    def locked(self) -> bool:
        return False

    def __enter__(self) -> None:
        (call,) = self._backend._waiting
        call.vectors = expected(call.texts)

    def __exit__(self, *_: object) -> None:
        pass


def test_what_another_one_ran_meanwhile_is_not_run_again(slow: SlowBackend) -> None:
    backend = BatchingBackend(slow)
    backend._running = TooLate(backend)  # type: ignore[assignment]
    assert np.array_equal(encode(backend, ["a"]), expected(["a"]))
    assert slow.runs == []
