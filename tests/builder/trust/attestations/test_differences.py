from __future__ import annotations

import json
from typing import Any

import pytest

from thoth_models.bundle.canonical_json import parse_json
from thoth_models_builder.trust.attestations.differences import differences, shown

EXPECTED = {"a": {"b": [1, {"c": "d"}]}, "e": None}


def found(value: Any) -> list[tuple[str, str, str]]:
    return [
        (one.path, one.expected, one.found) for one in differences(EXPECTED, parse_json(json.dumps(value).encode()))
    ]


def test_the_same_value_has_none() -> None:
    assert found(EXPECTED) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {"b": [1, {"c": "x"}]}, "e": None}, ("a.b[1].c", '"d"', '"x"')),
        ({"a": {"b": [True, {"c": "d"}]}, "e": None}, ("a.b[0]", "1", "true")),
        ({"a": {"b": [1]}, "e": None}, ("a.b", '[1, {"c": "d"}]', "[1]")),
        ({"a": {"b": {}}, "e": None}, ("a.b", '[1, {"c": "d"}]', "{}")),
        ({"a": {"b": [1, {"c": "d"}]}}, ("", "'e' with null", "no such key")),
        ({**EXPECTED, "f\u202e": 1}, ("f\\u202e", "no such key", "1")),
    ],
)
def test_each_difference_has_its_place(value: Any, said: tuple[str, str, str]) -> None:
    assert found(value) == [said]


def test_a_long_value_is_cut_and_hidden_characters_are_shown() -> None:
    assert shown("x" * 1000) == '"' + "x" * 99 + "…"
    assert shown("\u202e") == '"\\u202e"'
