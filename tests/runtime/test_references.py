"""Objects that are copied as themselves, and loaded at their first use after they were unpickled."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

from thoth_models.references import LoadedOnUse, SharedObject, unpickled

SECONDS = 30.0


class Letter(LoadedOnUse):
    _loaded_attributes = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickled, (type(self), self._reference or Address(self._text))

    @property
    def text(self) -> str:
        return self._text


class Address:
    loads = 0
    wrong: Exception | None = None

    def __init__(self, text: str) -> None:
        self.text = text

    def load(self) -> Letter:
        Address.loads += 1
        if Address.wrong is not None:
            raise Address.wrong
        return Letter(self.text)


@pytest.fixture(autouse=True)
def _no_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Address, "loads", 0)
    monkeypatch.setattr(Address, "wrong", None)


def sent(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own


def test_a_copy_is_the_same_object() -> None:
    for thing in (SharedObject(), Letter("a"), sent(Letter("a"))):
        assert copy.copy(thing) is copy.deepcopy(thing) is copy.deepcopy([thing])[0] is thing
    assert Address.loads == 0


def test_it_is_loaded_at_its_first_use_and_once() -> None:
    letter = sent(Letter("a"))
    assert (type(letter), letter._is_loaded, Address.loads) == (Letter, False, 0)
    assert (letter.text, letter.text) == ("a", "a")
    assert (letter._is_loaded, Address.loads) == (True, 1)


def test_it_is_sent_on_without_being_loaded() -> None:
    letter = sent(sent(Letter("a")))
    assert Address.loads == 0
    assert letter.text == "a"
    assert sent(letter).text == "a"


def test_a_failure_is_that_of_the_use_and_the_next_use_tries_again() -> None:
    letter = sent(Letter("a"))
    Address.wrong = OSError("no such place")
    for _ in range(2):
        with pytest.raises(OSError, match="no such place"):
            _ = letter.text
    Address.wrong = None
    assert letter.text == "a"


def test_a_load_that_misses_an_attribute_is_not_a_letter_without_text() -> None:
    letter = sent(Letter("a"))
    Address.wrong = AttributeError("module 'library' has no attribute 'open'")
    with pytest.raises(RuntimeError, match=r"expected to be loaded, found AttributeError.*has no attribute 'open'"):
        _ = letter.text


@pytest.mark.parametrize("letter", [Letter("a"), sent(Letter("a"))])
def test_what_it_does_not_have_loads_nothing(letter: Any) -> None:
    assert not hasattr(letter, "sender")
    with pytest.raises(AttributeError, match=r"^'Letter' object has no attribute '_sender'$"):
        _ = letter._sender
    assert Address.loads == 0


def test_threads_may_use_it_at_once() -> None:
    letter = sent(Letter("a"))
    start, found = threading.Barrier(8), []

    def use() -> None:
        start.wait(SECONDS)
        found.append(letter.text)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == ["a"] * 8
