"""The sizes at which attention changes, as the graph itself has them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.onnx

_GRAPH = """
<ir_version: 9, opset_import: ["": 20, "thoth": 1]>
graph (float[b, 4, t, 8] query, bool[b, t] padding) => (float[b, 4, t, 8] result)
{
    result = NODE (INPUTS)
}
"""


def _limits(node: str, inputs: str) -> set[int]:
    onnx = pytest.importorskip("onnx")
    from thoth_models_builder.compile.attention.limits import limits_of
    from thoth_models_builder.compile.attention.nodes import expand

    return limits_of(expand(onnx.parser.parse_model(_GRAPH.replace("NODE", node).replace("INPUTS", inputs))))


def test_limits_of_each_attention() -> None:
    """docs/decisions/0032-long-texts.md has the same numbers."""
    sides, heads = "query, query, query", "heads: int = 4, kv_heads: int = 4, scale: float = 0.5"
    assert _limits("thoth.BidirectionalAttention <scale: float = 0.5>", f"{sides}, padding") == {64, 256}
    windowed = "thoth.WindowedAttention <left: int = 600, right: int = 601, scale: float = 0.5>"
    assert _limits(windowed, f"{sides}, padding") == {64, 256, 600, 601}
    assert _limits(f"thoth.CausalAttention <{heads}, window: int = -1>", sides) == {1024}
    assert _limits(f"thoth.CausalAttention <{heads}, window: int = 4096>", sides) == {1024, 4096}


def test_other_graphs_have_none() -> None:
    assert _limits("Identity", "query") == set()
