from __future__ import annotations

from dataclasses import replace

import pytest

from thoth_models.bundle.space import SpaceInputs, space_id

INPUTS = SpaceInputs(
    weights={"model.safetensors": "a" * 64},
    architecture={"config.json": "b" * 64},
    tokenizer={"tokenizer.json": "c" * 64},
    pooling="mean",
    normalize=True,
    max_seq_length=128,
    prompts={"query": "q: ", "document": ""},
    default_prompt_name=None,
)


def test_the_identity_is_stable() -> None:
    # A golden: bundles that were built carry such identities, and indexes were filled under them.
    assert space_id(INPUTS).hex == "38000049c4e14750c2673738e2e25b36cbb7df98643b6ac19303f4b552691cd8"


def test_the_order_of_tables_does_not_count() -> None:
    assert space_id(replace(INPUTS, prompts={"document": "", "query": "q: "})) == space_id(INPUTS)


@pytest.mark.parametrize(
    "other",
    [
        replace(INPUTS, weights={"model.safetensors": "d" * 64}),
        replace(INPUTS, weights={"other.safetensors": "a" * 64}),
        replace(INPUTS, architecture={"config.json": "d" * 64}),
        replace(INPUTS, tokenizer={"tokenizer.json": "d" * 64}),
        replace(INPUTS, pooling="cls"),
        replace(INPUTS, normalize=False),
        replace(INPUTS, max_seq_length=127),
        replace(INPUTS, prompts={"query": "q:", "document": ""}),
        replace(INPUTS, prompts={}),
        replace(INPUTS, default_prompt_name="query"),
    ],
)
def test_whatever_changes_a_vector_changes_the_identity(other: SpaceInputs) -> None:
    assert space_id(other) != space_id(INPUTS)
