"""Keys whose values are reported in the words of models.yaml, and not in those of pydantic."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.projects import spec_of
from thoth_models_builder.errors import SpecError
from thoth_models_builder.spec.key_types import POOLING_MODES
from thoth_models_builder.spec.models_yaml import ModelSpec, parse_spec

MODEL: dict[str, Any] = {"sources": [{"directory": "models/mini"}]}
MODES = "one of cls, lasttoken, max, mean, mean_sqrt_len_tokens, weightedmean, or a list of them"


def model(**keys: Any) -> ModelSpec:
    return spec_of({"mini": {**MODEL, **keys}}).models["mini"]


def finding(**keys: Any) -> str:
    with pytest.raises(SpecError) as caught:
        model(**keys)
    (only,) = caught.value.findings
    return f"{only.path}: {only.message}".removeprefix("models.mini.")


@pytest.mark.parametrize("value", ["'7'", "0", "-1", "7.0", "true", "null", "[7]", str(2**53), "9" * 400, "seven"])
def test_a_release_is_a_number_that_is_larger_than_the_one_before(value: str) -> None:
    head = "version: 1\nbundle: {name: a, default: mini"
    models = "}\nmodels: {mini: {sources: [{directory: models/mini}], variants: [torch-fp32]}}\n"
    spec = parse_spec(f"{head}, release: {2**53 - 1}{models}".encode(), "models.yaml")
    assert spec.bundle.release == 2**53 - 1
    assert parse_spec(f"{head}{models}".encode(), "models.yaml").bundle.release is None
    with pytest.raises(SpecError) as caught:
        parse_spec(f"{head}, release: {value}{models}".encode(), "models.yaml")
    (only,) = caught.value.findings
    assert (only.line, only.path) == (2, "bundle.release")
    assert only.message.startswith(f"expected an integer from 1 to {2**53 - 1}, found ")


def test_keys_that_are_not_written_say_nothing() -> None:
    plain = model()
    assert plain.source_settings() == {}
    assert (plain.pooling, plain.prompts, plain.max_seq_length, plain.truncate_dim) == (None, None, None, None)
    assert plain.normalize is True


def test_keys_that_are_written() -> None:
    written = model(
        pooling="cls", prompts={"query": "query: "}, default_prompt_name="query", max_seq_length=128, truncate_dim=64
    )
    assert written.source_settings() == {
        "pooling": ("cls",),
        "prompts": {"query": "query: "},
        "default_prompt_name": "query",
        "max_seq_length": 128,
        "truncate_dim": 64,
    }
    # What is not about the source files does not count: a change of it must not compile again.
    assert model(normalize="auto", aliases=["other"]).source_settings() == {}


def test_no_default_prompt_is_not_the_same_as_no_key() -> None:
    assert model(default_prompt_name=None).source_settings() == {"default_prompt_name": None}


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_pooling_is_one_mode_or_several_in_their_order(mode: str) -> None:
    assert model(pooling=mode).pooling == (mode,)
    assert model(pooling=[mode]).pooling == (mode,)
    assert model(pooling=["mean", "cls"]).pooling == ("mean", "cls")


@pytest.mark.parametrize("value", [True, False, "auto"])
def test_normalize(value: object) -> None:
    assert model(normalize=value).normalize == value


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pooling": "average"}, f"pooling: expected {MODES}, found 'average'"),
        ({"pooling": []}, f"pooling: expected {MODES}, found a list"),
        ({"pooling": ["mean", 1]}, f"pooling: expected {MODES}, found a list"),
        ({"pooling": None}, f"pooling: expected {MODES}, found nothing"),
        ({"pooling": {"mean": True}}, f"pooling: expected {MODES}, found a mapping"),
        ({"pooling": ["mean", "mean"]}, "pooling: expected each mode once, found a list"),
        ({"prompts": None}, "prompts: expected a mapping, found nothing"),
        ({"prompts": ["query: "]}, "prompts: expected a mapping, found a list"),
        ({"prompts": {"query": 1}}, "prompts.query: expected a string, found 1; quote it"),
        ({"default_prompt_name": 1}, "default_prompt_name: expected a string, found 1; quote it"),
        ({"max_seq_length": 0}, "max_seq_length: expected an integer from 1 to 1048576, found 0"),
        ({"max_seq_length": True}, "max_seq_length: expected an integer from 1 to 1048576, found True"),
        ({"max_seq_length": 1.5}, "max_seq_length: expected an integer from 1 to 1048576, found 1.5"),
        ({"max_seq_length": None}, "max_seq_length: expected an integer from 1 to 1048576, found nothing"),
        ({"max_seq_length": 2**20 + 1}, "max_seq_length: expected an integer from 1 to 1048576, found 1048577"),
        ({"truncate_dim": -8}, "truncate_dim: expected a positive integer, found -8"),
        ({"normalize": "yes"}, "normalize: expected true, false or auto, found 'yes'"),
        ({"normalize": 1}, "normalize: expected true, false or auto, found 1"),
        ({"normalize": None}, "normalize: expected true, false or auto, found nothing"),
        (
            {"prompts": {"web": "Web: "}, "default_prompt_name": "query: "},
            "default_prompt_name: expected one of query, document, web, found 'query: '",
        ),
    ],
)
def test_what_is_refused(keys: dict[str, Any], message: str) -> None:
    assert finding(**keys) == message


@pytest.mark.parametrize("key", ["prompts: {query: X}", "prompts: {X: query}", "default_prompt_name: X"])
def test_half_of_a_surrogate_pair_is_refused(key: str) -> None:
    text = (
        "version: 1\nbundle: {name: a, default: m}\nmodels:\n  m: {sources: [{directory: m}], variants: [torch-fp32], "
    )
    data = f"{text}{key}}}\n".replace("X", r'"\ud800"').encode()
    with pytest.raises(SpecError, match="expected text without surrogates"):
        parse_spec(data, "models.yaml")
