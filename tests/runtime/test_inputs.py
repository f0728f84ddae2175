from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from thoth_models.errors import CallerError, InvalidInputError
from thoth_models.inputs import MAX_CHARACTERS, expect_items, expect_text, expect_texts

if TYPE_CHECKING:
    from collections.abc import Iterator


class PolarsTable:
    """As a DataFrame of polars, which iterates over its columns and has no ndim."""

    shape = (3, 2)

    def __iter__(self) -> Iterator[str]:
        return iter(["text"])


class Column:
    """As a column of pandas or polars."""

    shape = (2,)

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])


def test_one_text_or_several() -> None:
    assert expect_texts("sentences", "a") == ["a"]
    for several in (["a", "b"], ("a", "b"), iter("ab"), np.array(["a", "b"]), Column(), {"a": 1, "b": 2}.keys()):
        assert expect_texts("sentences", several) == ["a", "b"]
    assert type(expect_text("text", np.str_("a"))) is str


@pytest.mark.parametrize(
    ("several", "found"),
    [
        (PolarsTable(), "PolarsTable of 2 dimensions"),
        (np.array([["a"]]), "ndarray of 2 dimensions"),
        (np.array("a"), "ndarray of 0 dimensions"),
        ({"a": 1}, "dict"),
        ({"a"}, "set"),
        (frozenset("a"), "frozenset"),
        (b"a", "bytes"),
        ("a", "str"),
        (None, "NoneType"),
    ],
)
def test_what_has_no_items_in_an_order_is_refused(several: Any, found: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^payloads: expected a list, found {found}$"):
        expect_items("payloads", "a list", several)


@pytest.mark.hostile
def test_a_text_has_a_length_that_a_tokenizer_can_read() -> None:
    assert len(expect_text("text", "🙂" * MAX_CHARACTERS)) == 262_144
    message = re.escape("texts[2]: expected at most 262,144 characters, found 262,145; divide the text")
    with pytest.raises(InvalidInputError, match=f"^{message}") as caught:
        expect_texts("texts", ["a", "", "x" * (MAX_CHARACTERS + 1)])
    assert isinstance(caught.value, CallerError)
    with pytest.raises(InvalidInputError, match=r"^sentences: expected at most 262,144 characters, found 4,000,000; "):
        expect_texts("sentences", "x" * 4_000_000)
