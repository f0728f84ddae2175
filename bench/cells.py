"""Every cell of throughput beside the peers on the same weights, and beside what the processor can do. Pure.

A cell is a kind of texts and a way of calling, such as long texts from eight threads. Its goals are ratios of texts per
second: fp32 to each peer (``FP32_GOAL``), and int8 to fp32 (``INT8_GOAL``). Where one is missed, the share of a plain
matrix product says how much is left to gain: the operations of the model for each text, times texts per second, over
the operations per second of the largest products of the model, computed alone by torch with as many threads in the same
repetition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.markdown import number, rows
from bench.results import KINDS, SINGLES, WAYS, throughput, way
from bench.subjects import MINI, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.results import Results

PRODUCT: Final = "operations per second of plain matrix products"
"""The metric; measured in the process of sentence-transformers, which has torch."""

OPERATIONS: Final = "operations"
"""Key in the settings of a run: operations of the model for one text of each cell, on average, by metric."""

FP32_GOAL: Final = 1.2
"""Least ratio of fp32 to fastembed and to OpenVINO, on the same weights."""
INT8_GOAL: Final = 1.5
"""Least ratio of int8 to fp32."""

_FP32, _INT8 = f"{MINI}/onnx-fp32", f"{MINI}/onnx-int8"
_PEERS: Final = (f"{MINI}/fastembed", f"{MINI}/openvino")
CELLS: Final = {
    **{f"{kind}, {way(*called)}": throughput(kind, *called) for kind in KINDS for called in WAYS},
    "short, one by one": SINGLES,
}
"""Metric of each cell, by its name."""


def count_operations(config: Mapping[str, int], lengths: Sequence[int]) -> float:
    """Return the floating-point operations of an encoder for one text, on average: products with weights and attention.

    A multiplication and an addition are two. What is smaller by a factor of the width, as norms are, is left out.

    Args:
        config: Configuration of an encoder like BERT.
        lengths: Length of each text in tokens, without padding.
    """
    width, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    # Of one token: queries, keys, values and the output of attention; the two layers of the feed-forward network.
    for_weights = 2 * (4 * width * width + 2 * width * inner)
    # Of a pair of tokens: the score, and the part of the value.
    for_attention = 2 * 2 * width
    operations = [layers * (for_weights * length + for_attention * length * length) for length in lengths]
    return float(sum(operations)) / len(operations)


def cell_table(results: Results) -> list[str]:
    """Return the lines of a sentence and a table: each cell's ratios, with those that miss a goal in bold."""
    body = []
    for name, metric in CELLS.items():
        ratios = [_ratio(results, metric, _FP32, peer, FP32_GOAL) for peer in _PEERS]
        body.append([name, *ratios, _ratio(results, metric, _INT8, _FP32, INT8_GOAL), _share(results, metric)])
    head = ["", "fp32 / fastembed", "fp32 / OpenVINO", "int8 / fp32", "fp32, of a plain matrix product's speed"]
    sentence = (
        f"Cell by cell. The goal is {number(FP32_GOAL)} in the first two columns and {number(INT8_GOAL)} in the third; "
        "**bold** misses it. The last column says what is left to gain."
    )
    return [sentence, "", *rows(head, body)]


def _ratio(results: Results, metric: str, subject: str, against: str, goal: float) -> str:
    """Return the median ratio of one subject to another; in bold if it is below the goal."""
    spread = results.ratio((metric, subject), (metric, against))
    if spread is None:
        return "failed"
    shown = number(spread.median)
    return shown if spread.median >= goal else f"**{shown}**"


def _share(results: Results, metric: str) -> str:
    """Return the operations per second of fp32 as a share of those of plain matrix products."""
    operations = results.settings.get(OPERATIONS, {}).get(metric)
    reference = (PRODUCT, f"{MINI}/{REFERENCE}")
    spread = None if operations is None else results.ratio((metric, _FP32), reference, 1 / operations)
    return "not measured" if spread is None else f"{spread.median:.0%}"
