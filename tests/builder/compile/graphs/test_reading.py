"""What is read of graphs: weights in files beside them, and names at every depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.onnx


def test_external_weights_are_views_of_their_file(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from thoth_models_builder.compile.graphs.reading import external_weights
    from thoth_models_builder.compile.graphs.writing import write_graph

    large = np.arange(1200, dtype=np.float32).reshape(3, 400)
    whole = np.arange(600, dtype=np.int8)
    output = helper.make_tensor_value_info("large", TensorProto.FLOAT, [3, 400])
    tensors = [numpy_helper.from_array(large, "large"), numpy_helper.from_array(np.tile(whole, 2), "whole")]
    small = numpy_helper.from_array(np.ones(2, np.float32), "small")
    graph = helper.make_graph([], "graph", [], [output], initializer=[*tensors, small])
    write_graph(helper.make_model(graph), tmp_path / "model.onnx")
    read = external_weights(onnx.load(tmp_path / "model.onnx", load_external_data=False), tmp_path)
    assert sorted(read) == ["large", "whole"]
    assert np.array_equal(read["large"], large)
    assert np.array_equal(read["whole"], np.tile(whole, 2))
    assert not any(array.flags.owndata for array in read.values())


def test_the_names_that_a_node_reads_include_those_in_its_branches() -> None:
    from onnx import helper

    from thoth_models_builder.compile.graphs.reading import names_read

    deep = helper.make_graph([helper.make_node("Identity", ["deep"], ["z"])], "deep", [], [])
    inner = helper.make_node("If", ["second"], ["y"], then_branch=deep, else_branch=deep)
    branch = helper.make_graph([inner], "branch", [], [])
    node = helper.make_node("If", ["first"], ["x"], then_branch=branch, else_branch=branch)
    assert names_read(node) == {"first", "second", "deep"}
