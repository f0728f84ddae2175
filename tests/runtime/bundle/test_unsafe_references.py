"""What leads a library out of the files that were compared is refused, by the builder and by the runtime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models.bundle.unsafe_references import reads, unsafe_references
from thoth_models.errors import ModelUnavailableError, VerificationError
from thoth_models.loading.load import load_embedding
from thoth_models.verification.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = "sentence_bert_config.json"
TOKENIZER = "tokenizer_config.json"
INDEX = "model.safetensors.index.json"
SHARD = "model-00001-of-00001.safetensors"

UNSAFE: list[tuple[str, dict[str, Any], str]] = [
    (SENTENCE, {"tokenizer_name_or_path": "/elsewhere"}, "no `tokenizer_name_or_path`"),
    (SENTENCE, {"model_kwargs": {"subfolder": "../.."}}, "no `model_kwargs`"),
    (SENTENCE, {"processor_kwargs": {"tokenizer_file": "/x"}}, "no `processor_kwargs`"),
    (SENTENCE, {"transformer_task": "any-to-any"}, "`transformer_task` to be feature-extraction"),
    (SENTENCE, {"something_new": 1}, "no `something_new`"),
    (SENTENCE, {"model_args": {"default_task": "query", "subfolder": "../.."}}, "no `model_args`"),
    (SENTENCE, {"model_args": {"default_task": {"subfolder": "../.."}}}, "no `model_args`"),
    (TOKENIZER, {"fast_tokenizer_files": ["../../x/tokenizer.4.0.0.json"]}, "no `fast_tokenizer_files`"),
    (TOKENIZER, {"gguf_file": "../x.gguf"}, "no `gguf_file`"),
    (TOKENIZER, {"auto_map": {}}, "no `auto_map`"),
    (TOKENIZER, {"merges_file": "/x/merges.txt"}, "no file name in `merges_file`"),
    (TOKENIZER, {"vocab": "../vocab.txt"}, "no file name in `vocab`"),
    # Would be found in the working directory.
    (TOKENIZER, {"vocab": "vocab.txt"}, "no file name in `vocab`"),
    ("config.json", {"auto_map": {"AutoModel": "x.Y"}}, "no `auto_map`"),
    ("config.json", {"transformers_weights": "../x.safetensors"}, "no `transformers_weights`"),
    (INDEX, {"weight_map": {"w": "../../outside/model.safetensors"}}, "`weight_map` to name weight files"),
    (INDEX, {"weight_map": {"w": "/outside/model.safetensors"}}, "`weight_map` to name weight files"),
    (INDEX, {"weight_map": {"w": "model-00002-of-00002.safetensors"}}, "`weight_map` to name weight files"),
    (INDEX, {"weight_map": {"w": "pytorch_model.bin"}}, "`weight_map` to name weight files"),
]

SAFE: list[tuple[str, dict[str, Any]]] = [
    (SENTENCE, {"max_seq_length": 256, "do_lower_case": False}),
    (SENTENCE, {"transformer_task": "feature-extraction", "modality_config": {"text": {}}, "model_args": {}}),
    (SENTENCE, {"model_args": {"default_task": "text-matching"}}),
    (TOKENIZER, {"special_tokens_map_file": "/where/it/was/made", "tokenizer_file": None, "vocab_file": "vocab.txt"}),
    (TOKENIZER, {"merges_file": None, "do_lower_case": True}),
    ("config.json", {"hidden_size": 8, "_name_or_path": "/where/it/was/made"}),
    (INDEX, {"weight_map": {"w": SHARD}}),
    (INDEX, {}),
]
PATHS = ["modules.json", "merges.txt", SHARD]


def unsafe(path: str, table: dict[str, Any]) -> list[str]:
    return [finding.expected for finding in unsafe_references([*PATHS, path], lambda _path: table)]


@pytest.mark.parametrize(("path", "table", "expected"), UNSAFE)
@pytest.mark.parametrize("directory", ["", "0_Transformer/"])
def test_what_leads_outside_is_found(directory: str, path: str, table: dict[str, Any], expected: str) -> None:
    (found,) = unsafe(directory + path, table)
    assert found.startswith(expected)


@pytest.mark.parametrize(("path", "table"), SAFE)
def test_what_published_models_say_is_let_through(path: str, table: dict[str, Any]) -> None:
    assert unsafe(path, table) == []


def test_only_configurations_are_read() -> None:
    assert [path for path in (*PATHS, "vocab.txt", "tokenizer.json", "a/config.json") if reads(path)] == [
        "a/config.json"
    ]


@pytest.mark.parametrize(("path", "table", "expected"), UNSAFE)
def test_a_bundle_that_leads_outside_is_neither_intact_nor_loaded(
    path: str, table: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    """Whoever built it: its manifest is consistent, and every byte is the one that it lists."""
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini", more={path: json.dumps(table).encode()})], default="mini")
    try:
        with pytest.raises(VerificationError) as caught:
            verify(root)
        (problem,) = caught.value.problems
        assert (problem.kind, problem.path) == ("unsafe", f"mini/source/{path}")
        assert problem.expected.startswith(expected)
        with pytest.raises(ModelUnavailableError, match="unsafe"):
            load_embedding("mini", root=root)
    finally:
        make_writable(root)
