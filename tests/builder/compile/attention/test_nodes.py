"""Graphs with attention in blocks: the vectors of sentence-transformers, and memory that follows the length."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.long_models import LONG_MODELS, TOKENS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

LENGTHS = (1, 64, 65, 256, 257, 300, 1025)
"""On both sides of each size at which another operator takes over; windows are of 16 tokens."""


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", [name for name in LONG_MODELS if "16 heads" not in name])
def test_a_graph_in_blocks_gives_the_vectors_of_the_library(name: str, tmp_path: Path) -> None:
    import onnxruntime
    import torch

    from thoth_models_builder.compile.attention.torch_attention import attention_of
    from thoth_models_builder.compile.export import export_graph, load_reference
    from thoth_models_builder.compile.graphs.writing import finish_graph

    model = load_reference(LONG_MODELS[name](tmp_path / "source"))
    export_graph(model, tmp_path / "raw.onnx")
    finish_graph(tmp_path / "raw.onnx", tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    assert b"MultiHeadAttention" in content or b"GroupQueryAttention" in content
    transformer: Any = model[0].model
    assert (b"RotaryEmbedding" in content) == hasattr(transformer.config, "rope_parameters")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    left = model.tokenizer.padding_side == "left"
    with attention_of(model, "sdpa"), torch.no_grad():
        for tokens in LENGTHS:
            ids = np.random.default_rng(tokens).integers(5, 60, (2, tokens))
            mask = np.ones_like(ids)
            # The second text is padded to the first.
            mask[1, tokens - tokens // 3 :] = 0
            mask = mask[:, ::-1].copy() if left else mask
            given = {"input_ids": ids, "attention_mask": mask}
            for rows in (slice(0, 1), slice(0, 2)):
                part = {key: values[rows] for key, values in given.items()}
                expected = model({key: torch.from_numpy(values) for key, values in part.items()})["sentence_embedding"]
                (found,) = session.run(None, {key: part.get(key, np.zeros_like(ids[rows])) for key in names})
                difference = np.abs(found - expected.numpy()).max() / np.abs(expected.numpy()).max()
                assert difference < 1e-4, (tokens, rows)


_PEAK = """
import sys, numpy as np, onnxruntime
def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) * 1024
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
tokens = int(sys.argv[2])
ids = np.full((1, tokens), 7)
given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
names = [value.name for value in session.get_inputs()]
session.run(None, {name: given[name][:, :4] for name in names})
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
session.run(None, {name: given[name] for name in names})
print(memory("VmHWM") - before)
"""


def _peak(graph: Path) -> int:
    output = subprocess.run(
        [sys.executable, "-c", _PEAK, str(graph), str(TOKENS)], check=True, capture_output=True, timeout=120
    )
    return int(output.stdout)


@pytest.mark.unmeasured
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["bert 16 heads", "qwen3 16 heads"])
def test_a_long_text_takes_memory_that_follows_its_length(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thoth_models_builder.compile import export

    source = LONG_MODELS[name](tmp_path / "source")
    export.export_graph(export.load_reference(source), tmp_path / "blocks.onnx")
    # The whole matrix has 16 x 4,096 x 4,096 numbers: 1 GiB.
    assert _peak(tmp_path / "blocks.onnx") < 128 * 2**20
    monkeypatch.setattr(export, "_SHORT", 10**9)
    export.export_graph(export.load_reference(source), tmp_path / "whole.onnx")
    assert _peak(tmp_path / "whole.onnx") > 1024 * 2**20


@pytest.mark.parametrize("name", ["qwen3", "modernbert"])
def test_a_graph_in_blocks_has_the_same_bytes_and_can_be_quantised(name: str, tmp_path: Path) -> None:
    """Names that only a block reads are kept, and the table of tokens is found behind the padding that was moved."""
    import onnxruntime

    from thoth_models_builder.compile.export import export_graph, load_reference
    from thoth_models_builder.compile.quantize import quantize_graph

    model = load_reference(LONG_MODELS[name](tmp_path / "source"))
    (tmp_path / "again").mkdir()
    for place in (tmp_path, tmp_path / "again"):
        export_graph(model, place / "raw.onnx")
    assert (tmp_path / "raw.onnx").read_bytes() == (tmp_path / "again" / "raw.onnx").read_bytes()
    quantize_graph(tmp_path / "raw.onnx", tmp_path / "int8.onnx")
    ids = np.random.default_rng(0).integers(5, 60, (1, 1100))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    exact, rounded = (
        onnxruntime.InferenceSession(tmp_path / graph, providers=["CPUExecutionProvider"]).run(None, given)[0][0]
        for graph in ("raw.onnx", "int8.onnx")
    )
    assert exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded) > 0.99
