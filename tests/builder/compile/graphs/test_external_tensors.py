"""The list of external tensors, compared with what the onnx library says of the same graph."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tests.support.onnx_models import external_tensor
from thoth_models.backends.onnx_external_data import read_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.exported import Exported

pytestmark = pytest.mark.onnx

TYPES = ("float32", "float16", "int64", "int8", "uint8", "bool")
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    st.dictionaries(
        NAMES, st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 40), max_size=3)), min_size=1, max_size=6
    )
)
def test_the_list_is_what_the_library_says_of_any_graph_that_is_written(
    listed: dict[str, tuple[str, list[int]]],
) -> None:
    import onnx

    from thoth_models_builder.compile.graphs.external_tensors import write_tensors
    from thoth_models_builder.compile.graphs.writing import write_graph

    arrays = {
        name: np.arange(math.prod(shape), dtype=np.int64).astype(kind).reshape(shape)
        for name, (kind, shape) in listed.items()
    }
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        write_graph(model, path)
        write_tensors(path)
        found = read_tensors(path.with_name("model.onnx.tensors.json").read_bytes())
        written = onnx.load(path, load_external_data=False)
        data = memoryview(path.with_name("model.onnx.data").read_bytes())
    outside = [external_tensor(tensor) for tensor in written.graph.initializer if tensor.external_data]
    assert sorted(found, key=lambda tensor: tensor.name) == sorted(outside, key=lambda tensor: tensor.name)
    assert {tensor.name for tensor in found} == {name for name, array in arrays.items() if array.nbytes >= 1024}
    for tensor in found:
        np.testing.assert_array_equal(tensor.view(data), arrays[tensor.name])


@pytest.mark.hostile
def test_external_data_in_a_branch_of_a_graph_is_refused(tmp_path: Path) -> None:
    import onnx

    from thoth_models_builder.compile.errors import NotExportableError
    from thoth_models_builder.compile.graphs.external_tensors import write_tensors

    branch = onnx.helper.make_graph([], "branch", [], [], [onnx.numpy_helper.from_array(np.zeros(4), "inner")])
    (inner,) = branch.initializer
    inner.data_location = onnx.TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="elsewhere.data")
    node = onnx.helper.make_node("If", ["is"], ["out"], then_branch=branch, else_branch=branch)
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])), tmp_path / "model.onnx")
    with pytest.raises(NotExportableError, match="expected all external tensors in the graph itself, found 2 in its"):
        write_tensors(tmp_path / "model.onnx")


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "static"])
def test_a_real_graph_has_all_of_its_large_weights_in_the_list(exported: Callable[[str], Exported], kind: str) -> None:
    import onnx

    directory = exported(kind).directory
    found = {tensor.name: tensor for tensor in read_tensors((directory / "model.onnx.tensors.json").read_bytes())}
    data = memoryview((directory / "model.onnx.data").read_bytes())
    whole: Any = onnx.load(directory / "model.onnx")
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    assert set(found) == {name for name, array in arrays.items() if array.nbytes >= 1024}
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor.view(data), arrays[name])
