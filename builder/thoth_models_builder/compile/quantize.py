"""Quantize the weights of an ONNX graph to int8, so that vectors depend neither on their batch nor on the processor.

The scheme was chosen by measurement (docs/decisions/0009-int8-scheme.md has the numbers and the alternatives):

- A product of activations and constant weights becomes one of uint8 and int8 with exact int32 sums. Each row of
  activations, which is one token, has its own scale, computed while the graph runs; each column of weights has one.
- Before that, channels of activations are scaled to similar ranges, and the rows of the weights inversely
  (SmoothQuant, arXiv:2211.10438, with its exponent of 0.5), because a few channels are tens of times larger than
  others.
- Neighbouring weights are limited together. Processors without VNNI add two products in 16 bits, where
  255 x 127 + 255 x 127 saturates. Here no pair can saturate, at the cost of a third of a bit, so that sums are the same
  on all processors.
- Embedding tables are int8, with a scale for each row, after one for each column.
- Everything else, including attention between activations, stays in fp32.

The ranges of activations are measured by running the graph on tokens drawn evenly from its vocabulary. So no texts are
needed, and no text that a variant is measured with can influence it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from thoth_models_builder.compile.errors import NotExportableError
from thoth_models_builder.compile.graphs.reading import names_read, tokens_of_all
from thoth_models_builder.compile.graphs.writing import write_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

_OWN_DOMAIN: Final = "com.microsoft"
_MIN_WEIGHTS: Final = 1_024
"""Minimum size of a matrix for which quantization is worth the additional operators."""
_TOKENS: Final = (32, 16)
"""Batch size and tokens for measuring the ranges; short, so that every encoder accepts them."""

_MAX_UINT8: Final = 255
_MAX_INT8: Final = 127
"""Largest weight. Two neighbours of one sign add up to at most 128 after rounding, and 255 x 128 fits into 16 bits."""
_ZERO_POINTS: Final = tuple(range(16, 256, 16))
"""Possible zero points of uint8: 128 if activations are negative half of the time, smaller ones after a GELU."""
_STEPS: Final = 4
"""Channel factors are integer powers of 2 ** (1 / 4), so that the last bits of the measuring run do not matter."""
_MAX_POWER: Final = 4.0
"""Largest power of 2 for scaling a channel, for channels that were inactive in the measuring run."""
_TINY: Final = 1e-12


def quantize_graph(raw: Path, target: Path) -> None:
    """Write a graph with int8 weights; with one toolchain, the bytes are the same every time.

    Args:
        raw: A graph in fp32 from :func:`~thoth_models_builder.compile.export.export_graph`: all inputs are int64 of
            shape (batch, tokens).
        target: Path of the quantized graph. Its weights are written beside it, with ``.data`` appended to the name.

    Raises:
        NotExportableError: The graph has nothing that this scheme can quantize.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="quantize-") as name:
        folded = _fold(raw, Path(name))
        model = onnx.load(folded)
        graph = _Graph(model)
        if not graph.products and not graph.tables:
            raise NotExportableError(
                f"nothing to quantize: expected a product with constant weights or a table of rows, of at least "
                f"{_MIN_WEIGHTS} numbers in fp32, found none"
            )
        graph.rewrite(_measure(folded, graph) if graph.products else {})
    write_graph(model, target)


@dataclass(frozen=True)
class _Product:
    """A node that multiplies activations, of shape (…, K), with constant weights of shape (K, N)."""

    activations: str
    weights: str
    transposed: bool
    """Whether the constant has the shape (N, K)."""


@dataclass(frozen=True)
class _Rounding:
    """The quantization of one activation to uint8: the divisors of its channels, and its zero point."""

    factors: FloatArray
    zero_point: int


class _Graph:
    """A graph in the process of being quantized.

    Attributes:
        products: The products to quantize, by the name of the node's output.
        tables: Names of the constants from which rows are gathered, by the name of the node's output.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._added: dict[str, NDArray[Any]] = {}
        self.products: dict[str, _Product] = {}
        self.tables: dict[str, str] = {}
        for node in model.graph.node:
            attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            if node.op_type == "Gather" and attributes.get("axis", 0) == 0 and self._is_matrix(node.input[0]):
                self.tables[node.output[0]] = node.input[0]
            elif _is_product(node, attributes) and self._is_matrix(node.input[1]):
                self.products[node.output[0]] = _Product(node.input[0], node.input[1], bool(attributes.get("transB")))

    def _is_matrix(self, name: str) -> bool:
        tensor = self._constants.get(name)
        return (
            tensor is not None
            and tensor.data_type == onnx.TensorProto.FLOAT
            and len(tensor.dims) == 2  # noqa: PLR2004 - a matrix has two dimensions
            and tensor.dims[0] * tensor.dims[1] >= _MIN_WEIGHTS
        )

    def weights(self, product: _Product) -> FloatArray:
        """Return the constant of a product, of shape (K, N)."""
        array = numpy_helper.to_array(self._constants[product.weights])
        return np.asarray(array.T if product.transposed else array, dtype=np.float32)

    def rewrite(self, roundings: Mapping[str, _Rounding]) -> None:
        """Replace the products by int8 operators, and remove the constants that are not used any more."""
        nodes: list[onnx.NodeProto] = []
        done: set[str] = set()
        for node in self._model.graph.node:
            output = node.output[0] if node.output else ""
            if output in self.tables:
                nodes += self._gather(node)
            elif output in self.products:
                product = self.products[output]
                rounding = roundings[product.activations]
                if product.activations not in done:
                    done.add(product.activations)
                    nodes += self._round(product.activations, rounding)
                nodes += self._multiply(node, product, rounding)
            else:
                nodes.append(node)
        graph = self._model.graph
        used = set[str]().union(*map(names_read, nodes)) | {one.name for one in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        for field in (graph.initializer, graph.node, graph.value_info):
            del field[:]
        graph.initializer.extend(kept)
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self._added.items())
        graph.node.extend(nodes)
        if all(opset.domain != _OWN_DOMAIN for opset in self._model.opset_import):
            self._model.opset_import.add(domain=_OWN_DOMAIN, version=1)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._added[name] = value
        return name

    def _gather(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        table, ids, output = node.input[0], node.input[1], node.output[0]
        rows = numpy_helper.to_array(self._constants[table])
        factors = _even(np.log2(np.maximum(np.sqrt(np.square(rows).mean(axis=0)), _TINY)))
        even = rows / factors
        scale = _or_one(np.abs(even).max(axis=1, keepdims=True) / np.float32(_MAX_INT8))
        whole = self._constant(f"{table}/int8", np.rint(even / scale).astype(np.int8))
        scales = self._constant(f"{table}/scale", scale)
        columns = self._constant(f"{table}/factors", factors)
        inside = f"{output}/rows"
        return [
            _node("Gather", [whole, ids], inside),
            _node("Gather", [scales, ids], f"{inside}/scale"),
            _node("Cast", [inside], f"{inside}/float", to=onnx.TensorProto.FLOAT),
            _node("Mul", [f"{inside}/float", f"{inside}/scale"], f"{inside}/even"),
            _node("Mul", [f"{inside}/even", columns], output),
        ]

    def _round(self, name: str, rounding: _Rounding) -> list[onnx.NodeProto]:
        """Return the nodes that quantize activations to uint8, with a scale for each row."""
        zero, prefix = rounding.zero_point, f"{name}/rounded"
        source, nodes = name, []
        if not (rounding.factors == 1).all():
            factors = self._constant(f"{prefix}/factors", 1 / rounding.factors)
            source = f"{prefix}/smooth"
            nodes.append(_node("Mul", [name, factors], source))
        last = self._constant("int8/last", np.array([-1], np.int64))
        above = self._constant(f"int8/above/{zero}", np.array(1 / (_MAX_UINT8 - zero), np.float32))
        below = self._constant(f"int8/below/{zero}", np.array(-1 / zero, np.float32))
        tiny = self._constant("int8/tiny", np.array(_TINY, np.float32))
        point = self._constant(f"int8/point/{zero}", np.array(zero, np.uint8))
        # The smallest scale that covers all values on both sides of zero.
        for kind, factor in (("Max", above), ("Min", below)):
            nodes.append(_node(f"Reduce{kind}", [source, last], f"{prefix}/{kind}", keepdims=1))
            nodes.append(_node("Mul", [f"{prefix}/{kind}", factor], f"{prefix}/by{kind}"))
        # QuantizeLinear could divide as well, with a scale for each row of a matrix; but adapting the shapes takes
        # twice as many nodes, which costs a single text more than a full batch gains.
        return [
            *nodes,
            _node("Max", [f"{prefix}/byMax", f"{prefix}/byMin", tiny], f"{prefix}/scale"),
            _node("Div", [source, f"{prefix}/scale"], f"{prefix}/steps"),
            _node("QuantizeLinear", [f"{prefix}/steps", self._one(), point], prefix),
        ]

    def _one(self) -> str:
        return self._constant("int8/one", np.array(1, np.float32))

    def _multiply(self, node: onnx.NodeProto, product: _Product, rounding: _Rounding) -> list[onnx.NodeProto]:
        output, zero = node.output[0], rounding.zero_point
        whole, scale = _whole(self.weights(product) * rounding.factors[:, np.newaxis])
        # All uses of a constant have the same factors, see _measure.
        stem = f"{product.weights}/transposed" if product.transposed else product.weights
        inputs = [
            f"{product.activations}/rounded",
            self._constant(f"{stem}/int8", whole),
            self._one(),
            self._constant(f"{stem}/scale", scale),
            self._constant(f"int8/point/{zero}", np.array(zero, np.uint8)),
        ]
        bias = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 - the third input of Gemm
        scaled = f"{output}/scaled" if bias else output
        nodes = [
            _node("MatMulIntegerToFloat", inputs, f"{output}/sums", domain=_OWN_DOMAIN),
            _node("Mul", [f"{output}/sums", f"{product.activations}/rounded/scale"], scaled),
        ]
        return [*nodes, _node("Add", [scaled, bias], output)] if bias else nodes


def _is_product(node: onnx.NodeProto, attributes: Mapping[str, Any]) -> bool:
    if node.op_type == "Gemm":
        return not attributes.get("transA") and attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
    return node.op_type == "MatMul" and not node.domain


def _node(kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: int) -> onnx.NodeProto:
    node = helper.make_node(kind, inputs, [output], name=output, domain=domain)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return node


def _or_one(scale: NDArray[Any]) -> FloatArray:
    """Return scales without zeros; for a row of zeros any scale is right."""
    return np.where(scale > 0, scale, 1).astype(np.float32)


def _even(powers: NDArray[np.float32]) -> FloatArray:
    """Return channel factors from their powers of two, with a median of about 1."""
    powers = np.clip(powers - np.median(powers), -_MAX_POWER, _MAX_POWER)
    return np.asarray(np.exp2(np.rint(powers * _STEPS) / _STEPS), dtype=np.float32)


def _whole(weights: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Return weights of shape (K, N) as int8, and the scale of each column, of shape (N,).

    Processors without VNNI multiply four rows at a time, and add the products of the first two, and of the last two, in
    16 bits. So the scale limits pairs of neighbours.
    """
    padded = np.pad(weights, ((0, len(weights) % 2), (0, 0)))
    bound = np.abs(weights).max(axis=0)
    for sign in (1, -1):
        parts = np.maximum(sign * padded, 0)
        bound = np.maximum(bound, (parts[0::2] + parts[1::2]).max(axis=0))
    scale = _or_one(bound / np.float32(_MAX_INT8))
    return np.rint(weights / scale).astype(np.int8), scale


def _fold(raw: Path, place: Path) -> Path:
    """Fold constants, so that weights are constants even if an exporter transposes them in the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(place / "folded.onnx")
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "folded.data")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    _session(raw, options)
    return place / "folded.onnx"


def _session(graph: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    options.log_severity_level = 4
    # A single thread, so that sums have a fixed order.
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _measure(folded: Path, graph: _Graph) -> dict[str, _Rounding]:
    """Run the graph on tokens from its whole vocabulary, and return the quantization of each activation."""
    products: dict[str, list[_Product]] = {}
    users: dict[str, set[str]] = {}
    for product in graph.products.values():
        products.setdefault(product.activations, []).append(product)
        users.setdefault(product.weights, set()).add(product.activations)
    found = _activations(folded, list(products))
    roundings = {}
    for name, same in products.items():
        rows = found[name].reshape(-1, found[name].shape[-1])
        factors = np.ones(rows.shape[1], np.float32)
        # Layers that share weights would otherwise need a copy each, with different factors.
        if all(len(users[product.weights]) == 1 for product in same):
            factors = _factors(rows, [graph.weights(product) for product in same])
        roundings[name] = _Rounding(factors, _zero_point(rows / factors))
    return roundings


def _activations(folded: Path, names: list[str]) -> dict[str, FloatArray]:
    model = onnx.load(folded, load_external_data=False)
    feeds = tokens_of_all(model.graph, _TOKENS)
    if feeds is None:
        raise NotExportableError("cannot be quantized: expected a table that input_ids indexes, found none")
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    watched = folded.with_name("watched.onnx")
    onnx.save(model, watched)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(watched, options)
    return dict(zip(names, session.run(names, feeds), strict=True))


def _factors(rows: FloatArray, weights: list[FloatArray]) -> FloatArray:
    """Return divisors of the activation channels, so that the ranges of activations and weights become similar."""
    # The mean of fourth powers is between the usual and the largest value, so that no single token decides.
    channels = np.square(np.square(rows)).mean(axis=0) ** 0.25
    against = np.max([np.abs(one).max(axis=1) for one in weights], axis=0)
    powers = (np.log2(np.maximum(channels, _TINY)) - np.log2(np.maximum(against, _TINY))) / 2
    return _even(powers)


def _zero_point(rows: FloatArray) -> int:
    """Return the zero point with the smallest mean square of the step sizes over these rows."""
    high, low = np.maximum(rows.max(axis=1), 0), np.minimum(rows.min(axis=1), 0)
    return min(
        _ZERO_POINTS, key=lambda zero: float(np.square(np.maximum(high / (_MAX_UINT8 - zero), -low / zero)).mean())
    )
