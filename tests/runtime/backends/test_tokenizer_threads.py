"""Where the system refuses threads, `tokenizers` panics: with the reason once, and then without it for ever."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from thoth_models.backends import tokenizer_threads
from thoth_models.backends.tokenizer_threads import is_panic, with_or_without_threads
from thoth_models.errors import BackendError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

FIRST = "not initialized: ThreadPoolBuildError { kind: IOError(Resource temporarily unavailable) }"
LATER = "not initialized: ThreadPoolBuildError { kind: GlobalPoolAlreadyInitialized }"

_REFUSED = """
import json, logging, os, resource, sys
import tokenizers
from thoth_models.backends.tokenizer_threads import with_or_without_threads
tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
logging.basicConfig(stream=sys.stdout, format="%(message)s")
if os.getuid() == 0:
    os.setuid(54321)  # the limit does not hold for root
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
protect = with_or_without_threads if sys.argv[1] == "protected" else lambda call: call()
for texts in (["a", "b"], ["b"]):
    try:
        print(json.dumps([encoding.ids for encoding in protect(lambda: tokenizer.encode_batch_fast(texts))]))
    except BaseException as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.onnx
def test_texts_are_tokenised_without_the_threads_that_the_system_refuses(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    environment = {"RUST_BACKTRACE": "0", "TOKENIZERS_PARALLELISM": "true"}
    first, later = run_python("-c", _REFUSED, "control", environment=environment).stdout.splitlines()
    assert "Resource temporarily unavailable" in json.loads(first)
    assert "GlobalPoolAlreadyInitialized" in json.loads(later)
    done = run_python("-c", _REFUSED, "protected", environment=environment)
    warning, *answers = done.stdout.splitlines()
    assert warning.startswith("tokenizers got no threads, so texts are tokenised without: ")
    assert "Resource temporarily unavailable" in warning
    assert list(map(json.loads, answers)) == [[[0], [1]], [[1]]]


class PanicException(BaseException):
    pass


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_threads, "_cause", None)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")


def test_the_reason_stays(caplog: pytest.LogCaptureFixture) -> None:
    messages = iter([FIRST, LATER, LATER, LATER])

    def tokenize() -> None:
        raise PanicException(next(messages))

    for _ in range(2):
        with pytest.raises(BackendError) as caught:
            with_or_without_threads(tokenize)
        assert str(caught.value) == f"tokenizers could not start its threads: {FIRST}"
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert all(FIRST in record.message for record in caplog.records)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_the_reason_that_another_thread_got_takes_the_place_of_none() -> None:
    """Of two threads whose first calls fail at once, the one without the reason may be first here."""
    messages = iter([LATER, LATER, FIRST, LATER, LATER, LATER])

    def tokenize() -> None:
        raise PanicException(next(messages))

    for cause in (LATER, FIRST, FIRST):
        with pytest.raises(BackendError) as caught:
            with_or_without_threads(tokenize)
        assert str(caught.value) == f"tokenizers could not start its threads: {cause}"


@pytest.mark.parametrize("error", [PanicException("index out of range"), ValueError(FIRST), KeyboardInterrupt()])
def test_other_errors_pass(error: BaseException) -> None:
    calls: list[None] = []

    def tokenize() -> None:
        calls.append(None)
        raise error

    with pytest.raises(type(error)) as caught:
        with_or_without_threads(tokenize)
    assert caught.value is error
    assert len(calls) == 1
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    assert is_panic(error) == isinstance(error, PanicException)
