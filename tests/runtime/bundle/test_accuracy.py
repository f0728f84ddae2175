from __future__ import annotations

from dataclasses import replace

import pytest

from thoth_models.bundle.accuracy import Accuracy, Gate
from thoth_models.bundle.canonical_json import FormatError, canonical_json, parse_json

ACCURACY = Accuracy(minimum_cosine=0.97654, mean_cosine=-0.1, largest_difference=2e-7, neighbour_agreement=1.0)
GATE = Gate(required_cosine=0.95, required_agreement=0.8)


def test_an_accuracy_survives_its_json() -> None:
    document = ACCURACY.to_document()
    assert document == {
        "minimum_cosine": "0.97654",
        "mean_cosine": "-0.10000",
        "largest_difference": "0.000000200",
        "neighbour_agreement": "1.000",
    }
    assert Accuracy.from_node(parse_json(canonical_json(document))) == ACCURACY


def test_the_cosine_of_each_golden_text_survives_its_json() -> None:
    accuracy = replace(ACCURACY, cosines=(0.98, 0.97654, 1.0))
    document = accuracy.to_document()
    assert document["cosines"] == ["0.98000", "0.97654", "1.00000"]
    assert accuracy.summary().keys() == ACCURACY.to_document().keys()
    assert Accuracy.from_node(parse_json(canonical_json(document))) == accuracy


@pytest.mark.parametrize(
    ("cosines", "message"),
    [
        (["0.98000"], "cosines: expected cosines of which the worst is 0.97654, found 0.98000"),
        ([], "cosines: expected cosines of which the worst is 0.97654, found none"),
        (["0.9"], r"cosines\[0\]: expected a cosine with 5 decimals"),
    ],
)
def test_cosines_that_contradict_the_other_figures(cosines: list[str], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Accuracy.from_node(parse_json(canonical_json({**ACCURACY.to_document(), "cosines": cosines})))


def test_a_gate_survives_its_json() -> None:
    assert GATE.to_document() == {"required_cosine": "0.95000", "required_agreement": "0.800"}
    for gate in (GATE, Gate(required_cosine=0.99999)):
        assert Gate.from_node(parse_json(canonical_json(gate.to_document()))) == gate


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("minimum_cosine", "0.9", "minimum_cosine: expected a cosine with 5 decimals"),
        ("mean_cosine", "2.00000", "mean_cosine: expected a cosine with 5 decimals"),
        ("minimum_cosine", 1, "minimum_cosine: expected a string, found an integer"),
        ("largest_difference", "1e-7", "largest_difference: expected a number with 9 decimals"),
        ("neighbour_agreement", "-0.500", "neighbour_agreement: expected a share with 3 decimals"),
        ("more", "1", "expected only the keys"),
    ],
)
def test_a_figure_that_is_spelled_otherwise(key: str, value: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Accuracy.from_node(parse_json(canonical_json({**ACCURACY.to_document(), key: value})))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("required_cosine", 1, "required_cosine: expected a string, found an integer"),
        ("required_cosine", "-1.00000", "required_cosine: expected a cosine from 0 to 1"),
        ("required_agreement", "0.80000", "required_agreement: expected a share with 3 decimals"),
        ("minimum_cosine", "0.99000", "expected only the keys"),
    ],
)
def test_a_gate_that_is_spelled_otherwise(key: str, value: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Gate.from_node(parse_json(canonical_json({**GATE.to_document(), key: value})))


def test_a_gate_is_made_of_numbers_that_its_json_can_hold() -> None:
    gate = Gate.of(0.9876549, 0.12399)
    assert gate == Gate(required_cosine=0.98765, required_agreement=0.123)
    assert Gate.of(1.0) == Gate(required_cosine=1.0)


def test_a_gate_says_everything_that_is_missed() -> None:
    assert GATE.misses(ACCURACY) == []
    assert Gate.of(0.97654).misses(ACCURACY) == []
    assert Gate.of(0.97655).misses(ACCURACY) == ["expected a minimum cosine of 0.97655, found 0.97654"]
    low = replace(ACCURACY, minimum_cosine=0.5, neighbour_agreement=0.7)
    assert GATE.misses(low) == [
        "expected a minimum cosine of 0.95, found 0.5",
        "expected a neighbour agreement of 0.8, found 0.7",
    ]
    assert Gate.of(0.5).misses(low) == []
