"""What leads a library out of the files that were compared is refused, by the builder and by the runtime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models.bundle.unsafe_references import MODULE_KINDS, module_kind, reads, unsafe_references
from thoth_models.errors import ModelUnavailableError, VerificationError
from thoth_models.loading.load import load_embedding
from thoth_models.verification.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = "sentence_bert_config.json"
TOKENIZER = "tokenizer_config.json"
INDEX = "model.safetensors.index.json"
SHARD = "model-00001-of-00001.safetensors"

MODULES = "modules.json"
IMPLEMENTATION = "attn_implementation` to be eager or sdpa"

UNSAFE: list[tuple[str, Any, str]] = [
    # Names of repositories, or names for which transformers knows a repository.
    ("config.json", {"attn_implementation": "someone/kernel"}, f"`{IMPLEMENTATION}"),
    ("config.json", {"_attn_implementation": "someone/kernel@main:flash"}, f"`_{IMPLEMENTATION}"),
    ("config.json", {"attn_implementation": "flash_attention_2"}, f"`{IMPLEMENTATION}"),
    ("config.json", {"attn_implementation": {"": "sdpa", "text_config": "a/b"}}, f"`{IMPLEMENTATION}"),
    ("config.json", {"attn_implementation": ["a/b"]}, f"`{IMPLEMENTATION}"),
    ("config.json", {"text_config": {"attn_implementation": "a/b"}}, f"`text_config.{IMPLEMENTATION}"),
    ("config.json", {"parts": [{"_attn_implementation_internal": "a/b"}]}, "`parts.0._attn_implementation_internal`"),
    ("config.json", {"experts_implementation": "a/b"}, "`experts_implementation` to be eager or sdpa"),
    ("config.json", {"use_kernels": True}, "no `use_kernels`"),
    ("config.json", {"text_config": {"kernel_config": {"RMSNorm": "a/b:RMSNorm"}}}, "no `text_config.kernel_config`"),
    ("config.json", {"quantization_config": {"quant_method": "hqq"}}, "no `quantization_config`"),
    ("config.json", {"in_features": 8, "activation_function": "torch.hub.load"}, "`activation_function` to be a class"),
    ("config.json", {"in_features": 8, "activation_function": "os.Tanh"}, "`activation_function` to be a class"),
    (
        "config.json",
        {"in_features": 8, "activation_function": ["Tanh"]},
        "`activation_function` to be a class",
    ),
    ("adapter_config.json", {"base_model_name_or_path": "a/b"}, "a whole model"),
    (MODULES, [{"type": "sentence_transformers.util.Pooling"}], "`[0].type` to be a module of sentence-transformers"),
    (MODULES, [{"type": "sentence_transformers.models.Router"}], "`[0].type` to be a module"),
    (MODULES, [{"type": "modeling.Transformer"}], "`[0].type` to be a module"),
    (MODULES, [{"type": ["sentence_transformers.models.Pooling"]}], "`[0].type` to be a module"),
    (MODULES, ["sentence_transformers.models.Pooling"], "`[0].type` to be a module"),
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

SAFE: list[tuple[str, Any]] = [
    ("config.json", {"attn_implementation": None, "_attn_implementation": "sdpa", "experts_implementation": "eager"}),
    ("config.json", {"attn_implementation": {"": "sdpa", "text_config": "eager"}, "use_kernels": False}),
    # What jina-embeddings-v2 says to code of its own.
    ("config.json", {"attn_implementation": "torch"}),
    # What bge-multilingual-gemma2 says of a cache that is not used.
    ("config.json", {"cache_implementation": "hybrid"}),
    ("config.json", {"conv_kernel_size": 3, "activation_function": "swiglu"}),
    ("config.json", {"in_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}),
    ("config.json", {"in_features": 8, "activation_function": "torch.nn.modules.linear.Identity"}),
    (MODULES, [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]),
    (SENTENCE, {"max_seq_length": 256, "do_lower_case": False}),
    (SENTENCE, {"transformer_task": "feature-extraction", "modality_config": {"text": {}}, "model_args": {}}),
    (SENTENCE, {"model_args": {"default_task": "text-matching"}}),
    (TOKENIZER, {"special_tokens_map_file": "/where/it/was/made", "tokenizer_file": None, "vocab_file": "vocab.txt"}),
    (TOKENIZER, {"merges_file": None, "do_lower_case": True}),
    ("config.json", {"hidden_size": 8, "_name_or_path": "/where/it/was/made"}),
    (INDEX, {"weight_map": {"w": SHARD}}),
    (INDEX, {}),
]
PATHS = ["merges.txt", SHARD]


def unsafe(path: str, table: Any) -> list[str]:
    return [finding.expected for finding in unsafe_references([*PATHS, path], lambda _path, _kind: table)]


@pytest.mark.hostile
@pytest.mark.parametrize(("path", "table", "expected"), UNSAFE)
@pytest.mark.parametrize("directory", ["", "0_Transformer/"])
def test_a_configuration_that_leads_outside_of_the_model_is_found(
    directory: str, path: str, table: Any, expected: str
) -> None:
    if path == MODULES and directory:
        pytest.skip("the library reads it at the top only")
    (found,) = unsafe(directory + path, table)
    assert found.startswith(expected)


@pytest.mark.parametrize(("path", "table"), SAFE)
def test_what_published_models_say_is_let_through(path: str, table: Any) -> None:
    assert unsafe(path, table) == []


def test_only_configurations_are_read() -> None:
    paths = (*PATHS, "vocab.txt", "tokenizer.json", "a/config.json", "modules.json", "a/modules.json")
    assert [path for path in paths if reads(path)] == ["a/config.json", "modules.json"]


@pytest.mark.hostile
@pytest.mark.parametrize(("path", "table", "expected"), UNSAFE)
def test_a_bundle_that_leads_outside_is_neither_intact_nor_loaded(
    path: str, table: Any, expected: str, tmp_path: Path
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


@pytest.mark.torch
def test_the_modules_and_activations_that_the_library_writes_are_known() -> None:
    """Those of the release that is installed, under the names that it gives them."""
    from sentence_transformers.base import modules as base
    from sentence_transformers.sentence_transformer import modules as dense
    from sentence_transformers.util import fullname
    from torch import nn

    found = {kind: getattr(dense, kind, None) or getattr(base, kind) for kind in MODULE_KINDS}
    assert {kind: module_kind(fullname(object.__new__(cls))) for kind, cls in found.items()} == {
        kind: kind for kind in MODULE_KINDS
    }
    for activation in (nn.Identity(), nn.Tanh(), nn.GELU(), nn.ReLU(), nn.SiLU()):
        assert unsafe("config.json", {"in_features": 8, "activation_function": fullname(activation)}) == []
