from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from thoth_models_builder.compile.errors import NotExportableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.onnx

VOCABULARY = 300
OUTLIER = 60.0


class Encoder:
    """A graph like an encoder's: a table of rows, a product, GELU, a product, the mean of the tokens, a dense layer.

    Each of the three weights is given another way: as it is, transposed by a node, and transposed by Gemm.
    """

    def __init__(self, width: int = 64, inner: int = 128, dimension: int = 48, *, outlier: float = OUTLIER) -> None:
        random = np.random.default_rng(5)
        table = random.standard_normal((VOCABULARY, width)).astype(np.float32)
        table[:, width // 3] *= outlier
        table[7] = 0
        self.constants: dict[str, NDArray[Any]] = {
            "table": table,
            "up": _weights(random, width, inner),
            "down.T": _weights(random, inner, width).T.copy(),
            "dense.T": _weights(random, width, dimension).T.copy(),
            "up.bias": random.standard_normal(inner).astype(np.float32),
            "dense.bias": random.standard_normal(dimension).astype(np.float32),
            "axes": np.array([2], np.int64),
            "tokens": np.array([1], np.int64),
        }
        self.nodes: list[tuple[str, str, str, dict[str, Any]]] = [
            ("Gather", "table input_ids", "embedded", {}),
            ("MatMul", "embedded up", "upper", {}),
            ("Add", "upper up.bias", "biased", {}),
            ("Gelu", "biased", "active", {}),
            ("Transpose", "down.T", "down", {"perm": [1, 0]}),
            ("MatMul", "active down", "lower", {}),
            ("Cast", "attention_mask", "mask", {"to": 1}),
            ("Unsqueeze", "mask axes", "wide", {}),
            ("Mul", "lower wide", "counted", {}),
            ("ReduceSum", "counted tokens", "sum", {"keepdims": 0}),
            ("ReduceSum", "mask tokens", "count", {"keepdims": 1}),
            ("Div", "sum count", "mean", {}),
            ("Gemm", "mean dense.T dense.bias", "sentence_embedding", {"transB": 1}),
        ]

    def write(self, target: Path) -> Path:
        from onnx import TensorProto, helper, numpy_helper

        from thoth_models_builder.compile.graphs.writing import write_graph

        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, None)
        nodes = [
            helper.make_node(kind, names.split(), [made], name=made, **attributes)
            for kind, names, made, attributes in self.nodes
        ]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(nodes, "encoder", inputs, [output], constants)
        write_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), target)
        return target


def _weights(random: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    return np.asarray(random.standard_normal((rows, columns)) / np.sqrt(rows), dtype=np.float32)


def _quantized(raw: Path, *, finish: bool = True) -> Path:
    from thoth_models_builder.compile.graphs.writing import finish_graph
    from thoth_models_builder.compile.quantize import quantize_graph

    quantized = raw.with_name("quantized.onnx")
    quantize_graph(raw, quantized)
    if finish:
        finish_graph(quantized, raw.with_name("int8.onnx"), precision="int8")
        return raw.with_name("int8.onnx")
    return quantized


def _run(graph: Path, ids: NDArray[np.int64], mask: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
    return np.asarray(session.run(None, feeds)[0], dtype=np.float32)


def _ids(batch: int = 40, tokens: int = 9) -> NDArray[np.int64]:
    return np.random.default_rng(11).integers(0, VOCABULARY, (batch, tokens))


def _worst_cosine(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return float(((expected * found).sum(axis=1) / lengths).min())


def _largest_difference_alone(graph: Path) -> float:
    """Return how far vectors of texts that are alone are from the same ones in a batch of other lengths."""
    ids, mask = _ids(), np.ones((40, 9), np.int64)
    for row in range(40):
        mask[row, 1 + row % 9 :] = 0
    together = _run(graph, ids * mask, mask)
    alone = [_run(graph, ids[row : row + 1, : 1 + row % 9])[0] for row in range(40)]
    return float(np.abs(together - np.array(alone)).max())


def _constants(graph: Path) -> dict[str, NDArray[Any]]:
    import onnx
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(graph).graph.initializer}


def _matrices(graph: Path) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in _constants(graph).items() if array.ndim == 2 and array.size >= 1024}


def test_vectors_are_close_to_those_in_fp32(tmp_path: Path) -> None:
    raw = Encoder().write(tmp_path / "raw.onnx")

    assert _worst_cosine(_run(raw, _ids()), _run(_quantized(raw), _ids())) > 0.999


@pytest.mark.parametrize(("width", "inner", "dimension"), [(65, 33, 47), (127, 129, 31), (33, 1000, 40)])
def test_any_number_of_rows_and_columns_will_do(tmp_path: Path, width: int, inner: int, dimension: int) -> None:
    raw = Encoder(width, inner, dimension).write(tmp_path / "raw.onnx")
    int8 = _quantized(raw)

    assert _worst_cosine(_run(raw, _ids()), _run(int8, _ids())) > 0.998
    assert len(_matrices(int8)) == 4


def test_all_large_matrices_are_int8_and_the_weights_take_less_than_a_third(tmp_path: Path) -> None:
    raw = Encoder().write(tmp_path / "raw.onnx")
    int8 = _quantized(raw)

    assert {str(array.dtype) for array in _matrices(raw).values()} == {"float32"}
    assert {str(array.dtype) for array in _matrices(int8).values()} == {"int8"}
    large, small = (sum(array.nbytes for array in _constants(graph).values()) for graph in (raw, int8))
    assert small < large / 3


def test_the_optimizer_keeps_the_integer_products(tmp_path: Path) -> None:
    import onnx

    kinds = [node.op_type for node in onnx.load(_quantized(Encoder().write(tmp_path / "raw.onnx"))).graph.node]

    assert kinds.count("MatMulIntegerToFloat") == 3
    assert not {"MatMul", "Gemm"} & set(kinds)


def test_a_vector_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    raw = Encoder().write(tmp_path / "raw.onnx")

    size = np.abs(_run(raw, _ids())).max()
    assert _largest_difference_alone(_quantized(raw)) < 1e-5 * size


def test_the_dynamic_quantization_of_onnxruntime_does_depend_on_the_batch(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    raw = Encoder().write(tmp_path / "raw.onnx")
    quantize_dynamic(raw, tmp_path / "dynamic.onnx", per_channel=True, weight_type=QuantType.QInt8)

    size = np.abs(_run(raw, _ids())).max()
    assert _largest_difference_alone(tmp_path / "dynamic.onnx") > 1e-3 * size


def _pairs_fit(weights: NDArray[np.int8]) -> bool:
    """Whether 255 times two neighbours stays within 16 bits, whichever of the two activations are zero."""
    whole = np.pad(weights.astype(np.int64), ((0, len(weights) % 2), (0, 0)))
    sums = [np.maximum(sign * whole, 0)[0::2] + np.maximum(sign * whole, 0)[1::2] for sign in (1, -1)]
    return bool(255 * np.max(sums) <= 32767)


@pytest.mark.parametrize("rows", [64, 65])
def test_no_two_products_saturate_16_bits(rows: int) -> None:
    from thoth_models_builder.compile.quantize import _whole

    weights = _weights(np.random.default_rng(1), rows, 200)
    whole, scale = _whole(weights)

    assert _pairs_fit(whole)
    assert np.abs(whole * scale - weights).max() <= scale.max() / 2 * 1.0001
    assert np.abs(whole).max() > 95, "the bound costs less than half a bit"
    assert not _pairs_fit(np.rint(weights / np.abs(weights).max(axis=0) * 127).astype(np.int8)), "the control"


def test_channels_of_other_sizes_are_evened_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thoth_models_builder.compile import quantize

    # As in trained encoders, what is large in one channel of the activations has small weights.
    encoder = Encoder()
    encoder.constants["up"][64 // 3] /= OUTLIER
    raw = encoder.write(tmp_path / "raw.onnx")
    expected = _run(raw, _ids())
    lost = 1 - _worst_cosine(expected, _run(_quantized(raw), _ids()))
    monkeypatch.setattr(quantize, "_factors", lambda rows, _: np.ones(rows.shape[1], np.float32))

    assert lost * 10 < 1 - _worst_cosine(expected, _run(_quantized(raw), _ids()))


def test_what_is_mostly_positive_gets_a_low_zero(tmp_path: Path) -> None:
    # A bias of 2 before GELU, whose values are never below -0.17.
    encoder = Encoder(outlier=1)
    encoder.constants["up.bias"][:] = 2
    quantized = _constants(_quantized(encoder.write(tmp_path / "raw.onnx"), finish=False))

    points = sorted(int(array) for name, array in quantized.items() if name.startswith("int8/point/"))
    assert points[0] < 64
    assert points[-1] > 100


def test_layers_that_share_their_weights_share_the_int8_ones(tmp_path: Path) -> None:
    encoder = Encoder(64, 64)
    place = next(index for index, node in enumerate(encoder.nodes) if node[2] == "biased")
    encoder.nodes[place : place + 1] = [("MatMul", "upper up", "again", {}), ("Add", "again up.bias", "biased", {})]
    raw = encoder.write(tmp_path / "raw.onnx")
    int8 = _quantized(raw)

    assert len(_matrices(int8)) == 4
    assert _worst_cosine(_run(raw, _ids()), _run(int8, _ids())) > 0.97


def test_a_token_whose_row_is_all_zeros_gives_numbers(tmp_path: Path) -> None:
    raw = Encoder().write(tmp_path / "raw.onnx")
    zeros = np.full((1, 3), 7, np.int64)

    np.testing.assert_allclose(_run(_quantized(raw), zeros), _run(raw, zeros), atol=0.05)


def test_a_table_alone_is_quantized(tmp_path: Path) -> None:
    encoder = Encoder(outlier=1)
    encoder.nodes = [
        ("Gather", "table input_ids", "embedded", {}),
        ("ReduceMean", "embedded tokens", "sentence_embedding", {"keepdims": 0}),
    ]
    encoder.constants = {name: encoder.constants[name] for name in ("table", "tokens")}
    raw = encoder.write(tmp_path / "raw.onnx")
    int8 = _quantized(raw)

    assert [str(array.dtype) for array in _matrices(int8).values()] == ["int8"]
    assert _worst_cosine(_run(raw, _ids()), _run(int8, _ids())) > 0.9999


def test_a_graph_with_nothing_to_quantize_is_refused(tmp_path: Path) -> None:
    encoder = Encoder()
    encoder.constants |= {
        name: encoder.constants[name][tuple(slice(4) for _ in encoder.constants[name].shape)]
        for name in ("table", "up", "up.bias", "down.T", "dense.T", "dense.bias")
    }
    raw = encoder.write(tmp_path / "raw.onnx")

    with pytest.raises(NotExportableError, match="nothing to quantize: expected a product with constant weights"):
        _quantized(raw)
    assert not (tmp_path / "quantized.onnx").exists()


def test_a_graph_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    encoder = Encoder()
    encoder.nodes[0:1] = [
        ("Abs", "input_ids", "elsewhere", {}),
        ("Gather", "table elsewhere", "embedded", {}),
    ]
    raw = encoder.write(tmp_path / "raw.onnx")

    with pytest.raises(NotExportableError, match="expected a table that input_ids indexes, found none"):
        _quantized(raw)


@pytest.fixture
def digest_in_new_process(tmp_path: Path) -> Callable[[Path, str], list[str]]:
    def digest(raw: Path, hash_seed: str) -> list[str]:
        target = tmp_path / f"out-{hash_seed}" / "quantized.onnx"
        target.parent.mkdir()
        code = (
            "import sys; from pathlib import Path; from thoth_models_builder.compile.quantize import quantize_graph; "
            "quantize_graph(Path(sys.argv[1]), Path(sys.argv[2]))"
        )
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", code, str(raw), str(target)], check=True, env=environment, timeout=120)
        assert sorted(path.name for path in target.parent.iterdir()) == ["quantized.onnx", "quantized.onnx.data"]
        return [sha256(path.read_bytes()).hexdigest() for path in sorted(target.parent.iterdir())]

    return digest


def test_two_processes_write_the_same_bytes(
    tmp_path: Path, digest_in_new_process: Callable[[Path, str], list[str]]
) -> None:
    raw = Encoder().write(tmp_path / "raw.onnx")

    assert digest_in_new_process(raw, "1") == digest_in_new_process(raw, "2")
