"""Variants for the onnx backend that are made without torch: a tiny graph, a tiny tokenizer, and what they should give.

The graph looks up a vector per token, adds one for its segment and one for its place, and takes the mean: enough for a
wrong id, mask, segment or padding side to show. :func:`reference` says the same in a few lines of numpy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.bundles import ModelPlan, VariantPlan, make_bundle
from thoth_models.backends.onnx_external_data import ExternalTensor, tensors_document
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.verification.verify import open_bundle, verify_variant

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.types import FloatArray
    from thoth_models.verification.verify import VerifiedVariant

TENSORS_NAME = "model.onnx.tensors.json"
DIMENSION = 8
MAX_TOKENS = 10
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz", "water", "river", "##s", "query", ":", "#")
PAD, UNK, CLS, SEP = range(4)
SEGMENT = 1
"""What the tokenizer calls the segment of a text, but not of the tokens around it."""

INPUTS = ("attention_mask", "input_ids", "token_type_ids")
POOLING_INPUTS = ("attention_mask", "input_ids", "pooling_mask", "token_type_ids")

_random = np.random.default_rng(1)
TOKEN_TABLE = _random.normal(size=(len(WORDS), DIMENSION)).astype(np.float32)
SEGMENT_TABLE = _random.normal(size=(2, DIMENSION)).astype(np.float32)
PLACE_TABLE = _random.normal(size=(MAX_TOKENS + 1, DIMENSION)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph to make. The defaults are what the backend expects."""

    inputs: tuple[str, ...] = INPUTS
    output: str = "sentence_embedding"
    dimension: int = DIMENSION
    integers: str = "INT64"

    def files(self, directory: Path) -> dict[str, bytes]:
        """Return ``model.onnx``, its weights and the list of them."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        kind = getattr(TensorProto, self.integers)
        ids, mask = "input_ids", "attention_mask" if "attention_mask" in self.inputs else "ones"
        nodes = [
            helper.make_node("Gather", ["tokens", ids], ["token_vectors"]),
            helper.make_node("Equal", [ids, ids], ["same"]),
            helper.make_node("Cast", ["same"], ["ones"], to=TensorProto.INT64),
            helper.make_node("CumSum", [mask, "one"], ["counted"]),
            helper.make_node("Mul", ["counted", mask], ["place"]),
            helper.make_node("Gather", ["places", "place"], ["place_vectors"]),
            helper.make_node("Add", ["token_vectors", "place_vectors"], ["placed"]),
        ]
        if "token_type_ids" in self.inputs:
            nodes.append(helper.make_node("Gather", ["segments", "token_type_ids"], ["segment_vectors"]))
        else:
            nodes.append(helper.make_node("Sub", ["placed", "placed"], ["segment_vectors"]))
        nodes += [
            helper.make_node("Add", ["placed", "segment_vectors"], ["vectors"]),
            helper.make_node(
                "Cast", ["pooling_mask" if "pooling_mask" in self.inputs else mask], ["weights"], to=TensorProto.FLOAT
            ),
            helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
            helper.make_node("Mul", ["vectors", "columns"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "one"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["columns", "one"], ["count"], keepdims=0),
            helper.make_node("Max", ["count", "least"], ["divisor"]),
            helper.make_node("Div", ["sum", "divisor"], [self.output]),
        ]
        constants = {
            "tokens": TOKEN_TABLE[:, : self.dimension],
            "places": PLACE_TABLE[:, : self.dimension],
            "segments": SEGMENT_TABLE[:, : self.dimension],
            "one": np.array([1], dtype=np.int64),
            "last": np.array([-1], dtype=np.int64),
            "least": np.array([1e-9], dtype=np.float32),
        }
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(name, kind, ["batch", "length"]) for name in self.inputs],
            [helper.make_tensor_value_info(self.output, TensorProto.FLOAT, ["batch", self.dimension])],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "model.onnx"
        onnx.save(model, str(path), save_as_external_data=True, location="model.onnx.data", size_threshold=128)
        written = onnx.load(path, load_external_data=False)
        listed = [external_tensor(tensor) for tensor in written.graph.initializer if tensor.external_data]
        path.with_name(TENSORS_NAME).write_bytes(tensors_document(listed))
        return {name: (directory / name).read_bytes() for name in ("model.onnx", "model.onnx.data", TENSORS_NAME)}


def external_tensor(tensor: Any) -> ExternalTensor:
    """Return what the onnx library says of a tensor that lies outside of its graph."""
    from onnx import helper
    from onnx.external_data_helper import ExternalDataInfo

    info: Any = ExternalDataInfo(tensor)
    return ExternalTensor(
        name=tensor.name,
        type=str(helper.tensor_dtype_to_np_dtype(tensor.data_type)),
        shape=tuple(tensor.dims),
        offset=info.offset or 0,
        length=info.length,
    )


def tokenizer_json(*, max_tokens: int | None = MAX_TOKENS, padding: bool = False, special: bool = True) -> bytes:
    """Return the content of ``tokenizer.json``."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"[CLS]:0 $A:{SEGMENT} [SEP]:0", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
        )
    if max_tokens is not None:
        tokenizer.enable_truncation(max_tokens)
    if padding:
        tokenizer.enable_padding()
    return tokenizer.to_str().encode()


def settings_json(**changes: Any) -> bytes:
    """Return the content of ``settings.json``; a value of ``...`` takes its key away."""
    settings = {
        "version": 1,
        "inputs": list(INPUTS),
        "add_special_tokens": True,
        "pad_token_id": PAD,
        "pad_token_type_id": 0,
        "padding_side": "right",
        "max_tokens": MAX_TOKENS,
        "excludes_prompt": False,
        **changes,
    }
    return canonical_json({key: value for key, value in settings.items() if value is not ...})


def variant_files(
    directory: Path, *, graph: Graph | None = None, tokenizer: bytes | None = None, **settings: Any
) -> dict[str, bytes]:
    """Return all files of a variant; ``directory`` is for what has to be written on the way."""
    return {
        **(graph or Graph()).files(directory),
        "tokenizer.json": tokenizer_json() if tokenizer is None else tokenizer,
        "settings.json": settings_json(**settings),
    }


def plan(files: dict[str, bytes], *, max_seq_length: int | None = MAX_TOKENS, precision: str = "fp32") -> ModelPlan:
    """Plan a model with one variant of these files."""
    name = f"onnx-{precision}"
    return ModelPlan(
        name="mini",
        variants={name: VariantPlan(files=files, backend="onnx", directory=name)},
        dimension=DIMENSION,
        max_seq_length=max_seq_length,
        normalize=False,
    )


def verified(root: Path, model: ModelPlan) -> VerifiedVariant:
    """Make a bundle of one model at ``root``, and verify its only variant."""
    make_bundle(root, [model], default="mini")
    bundle = open_bundle(root)
    found = bundle.manifest.models["mini"]
    assert found.built is not None
    return verify_variant(bundle, found, found.built, found.built.variants[0])


def reference(
    tokenizer: bytes, text: str, *, skipped: int = 0, special: bool = True, segments: bool = True
) -> FloatArray:
    """Return the vector of one text, from its tokens alone: no padding, no batch; ``skipped`` tokens are not pooled."""
    from tokenizers import Tokenizer

    encoding = Tokenizer.from_str(tokenizer.decode()).encode(text, add_special_tokens=special)
    vectors = [
        TOKEN_TABLE[token] + PLACE_TABLE[place] + (SEGMENT_TABLE[segment] if segments else 0)
        for place, (token, segment) in enumerate(zip(encoding.ids, encoding.type_ids, strict=True), start=1)
    ][skipped:]
    return np.mean(vectors, axis=0, dtype=np.float32) if vectors else np.zeros(DIMENSION, dtype=np.float32)


def changed(data: bytes, *keys: str, value: object) -> bytes:
    """Return a JSON document with another value at a key path."""
    document = table = json.loads(data)
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    return json.dumps(document).encode()
