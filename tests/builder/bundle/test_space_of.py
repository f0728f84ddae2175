"""The identity of a space changes when the meaning of a vector may change, and only then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.projects import as_json, model_files, weights_of
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.bundle.space_of import space_of

Files = dict[str, bytes]
ST_CONFIG = "config_sentence_transformers.json"


def space(contents: Files, *, normalize: bool = False) -> str:
    files = ModelFiles({path: Digest.of(data) for path, data in contents.items()}, contents.__getitem__)
    return space_of(files, describe(files), normalize=normalize).hex


def needed() -> Files:
    """Return what a bundle holds of a model: a card, for one, is never in it."""
    contents = model_files("x")
    del contents["README.md"]
    return contents


def changed(path: str, **values: Any) -> Files:
    contents = needed()
    contents[path] = as_json({**json.loads(contents.get(path, b"{}")), **values})
    return contents


def without_normalize() -> Files:
    contents = needed()
    contents["modules.json"] = as_json(json.loads(contents["modules.json"])[:2])
    return contents


def moved(old: str, new: str) -> Files:
    contents = needed()
    contents[new] = contents.pop(old)
    return contents


OTHER_MEANING: dict[str, Files] = {
    "weights": {**needed(), "model.safetensors": weights_of("y", 4000)},
    "tokenizer": {**needed(), "tokenizer.json": as_json({"version": "1.0", "seed": "y"})},
    "vocabulary": {**needed(), "vocab.txt": b"[UNK]\ny\n"},
    "special tokens": {**needed(), "special_tokens_map.json": as_json({"unk_token": "?"})},
    "lower case": changed("tokenizer_config.json", do_lower_case=True),
    "pooling": changed("1_Pooling/config.json", pooling_mode="cls"),
    "prompt in pooling": changed("1_Pooling/config.json", include_prompt=False),
    "no normalise": without_normalize(),
    "length": changed("sentence_bert_config.json", max_seq_length=15),
    "prompt": changed(ST_CONFIG, prompts={"query": "query: "}),
    "another prompt": changed(ST_CONFIG, prompts={"query": "Query: "}),
    "default prompt": changed(ST_CONFIG, default_prompt_name="query"),
    "truncation": changed(ST_CONFIG, truncate_dim=5),
    "another truncation": changed(ST_CONFIG, truncate_dim=6),
    "activation": changed("config.json", hidden_act="relu"),
    "layers": changed("config.json", num_hidden_layers=3),
    "epsilon": changed("config.json", layer_norm_eps=1e-5),
}

SAME_MEANING: dict[str, Files] = {
    "where it was": changed("config.json", _name_or_path="/home/someone/model"),
    "library": changed("config.json", transformers_version="5.0.0"),
    "precision of the file": changed("config.json", torch_dtype="float32", dtype="float32"),
    "class": changed("config.json", architectures=["BertModel"]),
    "cache": changed("config.json", use_cache=True, gradient_checkpointing=False),
    "where the tokenizer was": changed("tokenizer_config.json", name_or_path="x", tokenizer_file="/a/b"),
    "where the map was": changed("tokenizer_config.json", special_tokens_map_file="/a/b"),
    "versions": changed(ST_CONFIG, __version__={"pytorch": "1.0"}),
    "similarity": changed(ST_CONFIG, similarity_fn_name="dot"),
    "empty prompt": changed(ST_CONFIG, prompts={"query": "", "document": None}),
    "truncation to all there is": changed(ST_CONFIG, truncate_dim=8),
    "order of keys": {**needed(), "config.json": as_json(dict(reversed(json.loads(needed()["config.json"]).items())))},
    "white space": {**needed(), "config.json": json.dumps(json.loads(needed()["config.json"]), indent=4).encode()},
    "index of shards": {
        **needed(),
        "model.safetensors.index.json": as_json({"weight_map": {"a": "model.safetensors"}}),
    },
}


@pytest.mark.parametrize("what", SAME_MEANING)
def test_what_does_not_change_the_meaning_keeps_the_space(what: str) -> None:
    assert space(SAME_MEANING[what]) == space(needed())


def test_whatever_changes_the_meaning_makes_a_space_of_its_own() -> None:
    spaces = {"as it is": space(needed()), **{what: space(contents) for what, contents in OTHER_MEANING.items()}}
    assert len(set(spaces.values())) == len(spaces)


def test_to_normalise_is_the_same_wherever_it_is_said() -> None:
    # The bundle's word and the model's own module make the same vectors, but the module is in another list of modules.
    plain = without_normalize()
    assert space(plain, normalize=True) != space(plain, normalize=False)
    assert space(needed(), normalize=True) == space(needed(), normalize=False)


def test_the_place_of_the_weights_counts() -> None:
    # Two files that change their places are two other layers.
    contents = needed()
    contents["model-00001-of-00002.safetensors"] = weights_of("a", 100)
    contents["model-00002-of-00002.safetensors"] = weights_of("b", 100)
    swapped = dict(contents)
    swapped["model-00001-of-00002.safetensors"] = contents["model-00002-of-00002.safetensors"]
    swapped["model-00002-of-00002.safetensors"] = contents["model-00001-of-00002.safetensors"]
    assert space(contents) != space(swapped)
    assert space(moved("vocab.txt", "added_tokens.json")) != space(needed())
