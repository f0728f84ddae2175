"""Whatever a small file of a published model says: facts, or an error that names what was expected and found."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from tests.support.described import Files, files_of
from tests.support.projects import as_json
from tests.support.small_files import BASES, KEYS, described
from thoth_models_builder.bundle.code.references import without_code
from thoth_models_builder.errors import UnsupportedModelError

words = st.sampled_from(["", "sdpa", "ntk", "factor", "type", "path", "attn_implementation", "dtype", "vocab", "shape"])
numbers = st.integers() | st.sampled_from([-1, 0, 1, 10**400]) | st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | words | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from([(path, key) for path, keys in KEYS.items() for key in (None, *keys)])


def with_value(contents: Files, path: str, key: str | None, value: object) -> Files:
    """Return files with one key, or one whole file, that says something else."""
    if key is None:
        return {**contents, path: as_json(value)}
    before = json.loads(contents.get(path, b"{}"))
    after = [{**entry, key: value} for entry in before] if isinstance(before, list) else {**before, key: value}
    return {**contents, path: as_json(after)}


@pytest.mark.hostile
@settings(max_examples=300)
@given(st.sampled_from(sorted(BASES)), places, values)
@example("usual", ("config_sentence_transformers.json", "prompts"), 5)
@example("usual", ("sentence_bert_config.json", "model_args"), {"attn_implementation": ["sdpa"]})
@example("usual", ("sentence_bert_config.json", "model_args"), {"dtype": {"": ["float32"]}})
@example("usual", ("config.json", "model_type"), ["bert"])
@example("usual", ("config.json", "model_type"), {})
@example("nomic", ("config.json", "rotary_emb_base"), None)
@example("nomic", ("config.json", "rotary_emb_base"), 10**400)
@example("gte", ("config.json", "hidden_size"), 10**400)
@example("usual", ("tokenizer_config.json", "added_tokens_decoder"), {"1" * 5000: "<a>"})
def test_any_value_in_a_small_file_gives_facts_or_an_error_of_ours(
    base: str, place: tuple[str, str | None], value: object
) -> None:
    plain = {path: data for path, data in BASES[base].items() if path != "modules.json"}
    for contents, pooling in ((BASES[base], None), (plain, "mean")):
        files = files_of(with_value(contents, *place, value))
        for reviewed in (False, True):
            with suppress(UnsupportedModelError):
                described(without_code(files, {}) if reviewed else files, pooling)


def test_the_models_that_are_changed_are_fine_themselves() -> None:
    for base in ("usual", "nomic", "gte", "static"):
        described(files_of(BASES[base]), None)
