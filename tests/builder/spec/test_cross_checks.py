"""What must hold between the values of a models.yaml."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.projects import spec_of, specification
from thoth_models_builder.errors import SpecError
from thoth_models_builder.spec.models_yaml import (
    parse_spec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


DIRECTORY = {"directory": "models/mini"}


MODEL = {"sources": [DIRECTORY]}


def findings(models: Mapping[str, Mapping[str, Any]], *, default: str | None = None) -> list[str]:
    """Return each finding without its line, which the files in malformed/ are about."""
    with pytest.raises(SpecError) as caught:
        spec_of(models, default=default)
    assert all(finding.line is not None for finding in caught.value.findings)
    return [f"{finding.path}: {finding.message}" for finding in caught.value.findings]


def finding(models: Mapping[str, Mapping[str, Any]], *, default: str | None = None) -> str:
    (only,) = findings(models, default=default)
    return only


def test_aliases_are_used_once_over_the_whole_file() -> None:
    assert findings(
        {
            "mini": {**MODEL, "aliases": ["a", "a", "other", "mini"]},
            "other": {**MODEL, "aliases": ["a", "b"]},
        }
    ) == [
        "models.mini.aliases[1]: expected a name that is used once, found 'a', which is an alias of 'mini'",
        "models.mini.aliases[2]: expected a name that is used once, found 'other', which is the name of a model",
        "models.mini.aliases[3]: expected a name that is used once, found 'mini', which is the name of a model",
        "models.other.aliases[0]: expected a name that is used once, found 'a', which is an alias of 'mini'",
    ]


def alternates(*names: str) -> dict[str, Any]:
    return {**MODEL, "alternates": [{"model": name, "other_space": "accept"} for name in names]}


@pytest.mark.parametrize(
    ("models", "place", "loop"),
    [
        ({"a": alternates("a")}, "a.alternates[0]", "a → a"),
        ({"a": alternates("b"), "b": alternates("a")}, "b.alternates[0]", "a → b → a"),
        ({"a": alternates("b"), "b": alternates("c"), "c": alternates("a")}, "c.alternates[0]", "a → b → c → a"),
        # The loop alone, not the way that leads to it; and found once, from wherever one starts.
        ({"x": alternates("a"), "a": alternates("x2", "b"), "x2": MODEL, "b": alternates("a")}, "b.alternates[0]",
         "a → b → a"),
    ],
)  # fmt: skip
def test_alternates_do_not_lead_back(models: dict[str, Any], place: str, loop: str) -> None:
    assert finding(models) == (
        f"models.{place}.model: expected alternates that do not lead back, found the loop {loop}"
    )


def test_two_loops_are_two_findings() -> None:
    found = findings({"a": alternates("b", "a"), "b": alternates("a")})
    assert [line.rpartition(" loop ")[2] for line in found] == ["a → a", "a → b → a"]


def test_alternates_that_meet_are_no_loop() -> None:
    models = {"a": alternates("b", "c"), "b": alternates("d"), "c": alternates("d"), "d": MODEL}
    assert list(spec_of(models).models) == ["a", "b", "c", "d"]


@pytest.mark.unmeasured
def test_a_long_chain_of_alternates_is_read() -> None:
    count = 1100
    models = {f"m{index}": alternates(f"m{index + 1}") for index in range(count)}
    assert len(spec_of({**models, f"m{count}": MODEL}).models) == count + 1
    assert finding({**models, f"m{count}": alternates("m0")}).endswith("m1099 → m1100 → m0")


@pytest.mark.parametrize("version", [True, 1.0, 0, 2, "1", None, [1]])
def test_the_version_is_the_integer_one(version: object) -> None:
    document = {**json.loads(specification({"mini": MODEL})), "version": version}
    with pytest.raises(SpecError, match="version: expected 1, found "):
        parse_spec(json.dumps(document).encode(), "models.yaml")
