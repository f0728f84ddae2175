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


def test_tokens_are_drawn_from_the_whole_vocabulary() -> None:
    """Of a table at any depth, also where unlisted tokens were replaced first."""
    from onnx import numpy_helper, parser

    from thoth_models_builder.compile.graphs.reading import tokens_of_all

    inputs = "int64[b, t] input_ids, int64[b, t] attention_mask, int64[b, t] token_type_ids"
    model = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]> g ({inputs}) => (float[b, t, w] y) {{
            any = Equal (token_type_ids, attention_mask)
            listed = Where (any, input_ids, unknown)
            yes = Constant <value_int = 1> ()
            is_so = Cast <to = 9> (yes)
            y = If (is_so) <
                then_branch = a () => (float[b, t, w] one) {{ one = Gather (table, listed) }},
                else_branch = b () => (float[b, t, w] two) {{ two = Gather (types, token_type_ids) }}
            >
        }}"""
    )
    assert tokens_of_all(model.graph, (2, 3)) is None
    tables = {"table": np.zeros((100, 4)), "types": np.zeros((2, 4)), "unknown": np.array(3)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in tables.items())
    drawn = tokens_of_all(model.graph, (2, 3))
    assert drawn is not None
    assert {name: values.tolist() for name, values in drawn.items()} == {
        "input_ids": [[61, 23, 85], [47, 9, 70]],
        "attention_mask": [[1, 1, 1], [1, 1, 1]],
        "token_type_ids": [[0, 0, 0], [0, 0, 0]],
    }
