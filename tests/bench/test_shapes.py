from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.peers import write_fastembed
from bench.shapes import SHAPES, Shape, write_shape
from bench.subjects import SHAPE_SUBJECTS
from thoth_models.bundle.canonical_json import Node
from thoth_models.bundle.model import read_name

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 2000,
}
FEW_KEYS = {"head_dim": 16, "num_key_value_heads": 1}
"""What is small here, and changes neither kind nor modules; the latter two where a shape has them."""


def test_the_long_text_is_as_long_as_the_model_takes_but_no_longer_than_the_budget_says() -> None:
    assert {name: shape.long_tokens for name, shape in SHAPES.items()} == {
        "bge-base": 512,
        "bge-m3": 8192,
        "modernbert-base": 8192,
        "qwen3-600m": 8192,
        "embeddinggemma-300m": 2048,
    }


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_named_as_a_model_may_be(name: str) -> None:
    assert read_name(Node(name, "name")) == name


@pytest.mark.torch
@pytest.mark.onnx
def test_a_model_with_one_kind_of_tokens_is_written_for_fastembed(tmp_path: Path) -> None:
    shape = SHAPES["bge-m3"]
    write_shape(replace(shape, config={**shape.config, **SMALL}, width=32), tmp_path / "source")
    (tmp_path / "target").mkdir()
    write_fastembed(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target" / "model.onnx").stat().st_size > 0


def test_fastembed_is_measured_where_it_has_the_pooling() -> None:
    found = {subject.model for subject in SHAPE_SUBJECTS if subject.way == "fastembed"}
    assert found == {"bge-base", "bge-m3", "modernbert-base"}


@pytest.mark.torch
@pytest.mark.parametrize("shape", SHAPES.values(), ids=lambda shape: shape.name)
def test_a_shape_is_written_as_a_model_that_the_library_loads(shape: Shape, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    small = {**SMALL, **{key: value for key, value in FEW_KEYS.items() if key in shape.config}}
    dense = (40, 24) if shape.dense else ()
    write_shape(replace(shape, config={**shape.config, **small}, width=32, dense=dense), tmp_path / "model")
    model = SentenceTransformer(str(tmp_path / "model"), device="cpu", local_files_only=True)
    assert model.encode(["the river"]).shape == (1, 24 if shape.dense else 32)
    assert model.max_seq_length == shape.max_seq_length
    assert model.tokenizer.padding_side == shape.padding
    assert json.loads((tmp_path / "model/config.json").read_bytes())["model_type"] == shape.kind
