"""The two exporters of torch, each from a pipeline to a graph and its weights. The fastest one that passes is used.

:func:`by_tracing` runs the modules once on real tokens and records the operators: 0.2 s for a tiny model, 1 s for a
large one. :func:`by_program` computes symbolic shapes for each operator, three times, and takes ten times as long.
Tracing may record a size of the example as a constant; the comparison of graph and modules at other shapes detects that
(docs/decisions/0021-compile-time.md has the figures).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import onnx
import torch
from onnx import numpy_helper
from torch._subclasses.fake_tensor import FakeTensorMode

from thoth_models_builder.compile.attention import nodes
from thoth_models_builder.compile.graphs.reading import OUTPUT_NAME, names_read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

"""The only output of every graph: float32 of shape (batch, dimension)."""

_OPSET: Final = 20
"""The first opset with Gelu as one operator, which has a fast kernel; in earlier ones it takes five operators."""

_AXES: Final = {0: "batch", 1: "tokens"}


class _Positional(torch.nn.Module):
    """A pipeline with separate inputs, because a traced graph cannot have a dict as input."""

    def __init__(self, pipeline: torch.nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.pipeline = pipeline
        self._names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the vectors of token tensors in the order of the names."""
        vectors: Tensor = self.pipeline(dict(zip(self._names, inputs, strict=True)))
        return vectors


def by_tracing(
    pipeline: torch.nn.Module, example: Mapping[str, Tensor]
) -> tuple[onnx.ModelProto, dict[str, NDArray[np.generic]]]:
    """Return the graph of a pipeline, and its external weights by name, as views of the pipeline's weights.

    Args:
        pipeline: Maps a dict of token tensors to vectors.
        example: Token tensors by name, in the order of the graph's inputs.
    """
    width = _width_without_values(pipeline, example)
    module = _Positional(pipeline, list(example)).eval()
    # The exporter accepts a file object as well, but its type hints only allow a name.
    written: Any = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            module,
            tuple(example.values()),
            written,
            input_names=list(example),
            output_names=[OUTPUT_NAME],
            dynamic_axes={**dict.fromkeys(example, _AXES), OUTPUT_NAME: {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
            # The weights stay outside: protobuf has a limit of 2 GB, and memory is limited too.
            export_params=False,
            do_constant_folding=False,
        )
    model = onnx.load_from_string(written.getvalue())
    state = module.state_dict(keep_vars=True)
    weights = {value.name: state[value.name].detach().numpy() for value in model.graph.input if value.name in state}
    _inline_squeezes(model.graph)
    attention = nodes.declare(model)
    # First, while the graph still has the shapes of the weights.
    _share_shapes(model)
    _declare_inputs(model, list(example))
    # The exporter loses the width where it does not know the shape of an operator's result.
    (output,) = model.graph.output
    output.CopyFrom(onnx.helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, [_AXES[0], width]))
    return nodes.expand(model) if attention else model, weights


def by_program(
    pipeline: torch.nn.Module, example: Mapping[str, Tensor], max_tokens: int | None
) -> tuple[onnx.ModelProto, dict[str, NDArray[np.generic]]]:
    """Return the graph of a pipeline including its weights; the dict of external weights is empty.

    Args:
        pipeline: Maps a dict of token tensors to vectors.
        example: Token tensors by name, in the order of the graph's inputs.
        max_tokens: Longest input, or None for no limit.
    """
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=max_tokens)
    names = list(example)
    with torch.no_grad():
        captured = torch.export.export(
            pipeline, (dict(example),), dynamic_shapes=({name: {0: batch, 1: tokens} for name in names},), strict=False
        )
        program = torch.onnx.export(
            captured, input_names=names, output_names=[OUTPUT_NAME], opset_version=_OPSET, verbose=False
        )
    if program is None:
        raise AssertionError("the exporter of dynamic graphs returns a program")
    return program.model_proto, {}


def _width_without_values(pipeline: torch.nn.Module, example: Mapping[str, Tensor]) -> int:
    """Run a pipeline on tensors that have shapes but no values, and return the length of a vector.

    Code that depends on a value raises. A traced graph contains only the branch that the example took. A branch on the
    size of a tensor is detected when the graph is compared at other sizes; a branch on values might not be.
    """
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        vectors: Tensor = pipeline({name: mode.from_tensor(tensor) for name, tensor in example.items()})
        return vectors.shape[1]


def _inline_squeezes(graph: onnx.GraphProto) -> None:
    """Replace each ``If`` of one size by the branch for it: torch drops an axis only if its size is 1.

    The exporter writes such an ``If`` where it does not know that size, as of pooling by the first token. The size is
    that of the example; with another one the node fails, and so does the comparison of graph and modules.
    """
    kept = []
    for node in graph.node:
        branch = next((one.g for one in node.attribute if one.name == "then_branch"), None)
        if branch is None or {one.op_type for one in branch.node} - {"Constant"} != {"Squeeze"}:
            kept.append(node)
            continue
        for one in branch.node:
            for place, name in enumerate(one.output):
                one.output[place] = node.output[0] if name == branch.output[0].name else name
        kept += list(branch.node)
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph)


def _declare_inputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the graph all inputs of the tokenizer, including those that the encoder accepts but does not use."""
    found = {value.name: value for value in model.graph.input}
    del model.graph.input[:]
    for name in names:
        made = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, list(_AXES.values()))
        model.graph.input.append(found.get(name, made))


def _share_shapes(model: onnx.ModelProto) -> None:
    """Read each variable size from a single tensor; the traced graph reads it from a tensor of every layer.

    Sizes with the same symbol are equal, by ONNX's own shape inference. An optimiser then merges the equal nodes:
    all-MiniLM-L6-v2 keeps 236 nodes of 273.
    """
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    symbols = {
        value.name: [dimension.dim_param for dimension in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.input, *inferred.graph.value_info)
    }
    producers = {output: node for node in model.graph.node for output in node.output}
    first: dict[tuple[str, int], str] = {}
    replaced: dict[str, str] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = replaced.get(name, name)
        if (size := _size_read(node, producers)) is None:
            continue
        tensor, axis, rank = size
        known = symbols.get(tensor, [])
        symbol = known[axis] if -len(known) <= axis < len(known) else ""
        if symbol:
            shared = first.setdefault((symbol, rank), node.output[0])
            if shared != node.output[0]:
                replaced[node.output[0]] = shared
    _drop_unused(model.graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes whose output is not used; an optimiser keeps them, and a runtime would compute them."""
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.isdisjoint(node.output):
            continue
        kept.append(node)
        used |= names_read(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _size_read(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto]) -> tuple[str, int, int] | None:
    """Return tensor, axis and rank of the index, for a node that selects one size of a shape; None for other nodes."""
    shape, index = (producers.get(name) for name in node.input) if node.op_type == "Gather" else (None, None)
    if shape is None or shape.op_type != "Shape" or shape.attribute or index is None or index.op_type != "Constant":
        return None
    values: Any = numpy_helper.to_array(index.attribute[0].t)
    return (shape.input[0], int(values.item()), values.ndim) if values.size == 1 else None
