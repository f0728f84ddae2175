"""What is counted of a call."""

from __future__ import annotations

import pytest

from tests.support.bundles import FakeBackend
from thoth_models.backends.counting_backend import CountingBackend


class Failing(FakeBackend):
    def encode(self, texts: list[str], **_: object) -> object:  # type: ignore[override]
        raise KeyboardInterrupt


def test_a_call_its_texts_and_its_time() -> None:
    counted: list[dict[str, float]] = []
    fake = FakeBackend()
    backend = CountingBackend(fake, lambda **amounts: counted.append(amounts))
    vectors = backend.encode(["a", "b"], prompt="p: ", batch_size=1, show_progress_bar=False)
    assert vectors.shape == (2, 8)
    assert fake.batch_sizes == [1]
    assert [(call["calls"], call["texts"], call["encode_seconds"] >= 0) for call in counted] == [(1, 2, True)]


def test_a_call_that_was_interrupted_is_a_failure() -> None:
    counted: list[dict[str, float]] = []
    backend = CountingBackend(Failing(), lambda **amounts: counted.append(amounts))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        backend.encode(["a"], prompt=None, batch_size=None, show_progress_bar=False)
    assert counted == [{"failures": 1}]
