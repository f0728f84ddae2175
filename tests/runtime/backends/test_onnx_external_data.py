"""Where the weights of a graph lie, compared with what the onnx library says of the same graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tests.runtime.backends.onnx_models import variant_files
from thoth_models.backends.weights import Weight, weights
from thoth_models.canonical import FormatError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.onnx

NAMES = st.text(max_size=20)
TYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"}


def tensor(name: str, kind: int, shape: list[int], *, external: bool, **place: Any) -> Any:
    import onnx

    made = onnx.TensorProto(name=name, data_type=kind, dims=shape)
    if external:
        made.data_location = onnx.TensorProto.EXTERNAL
        for key, value in place.items():
            made.external_data.add(key=key, value=str(value))
    else:
        made.raw_data = b"\x80" * 9
    return made


def graph(*tensors: Any) -> memoryview:
    import onnx

    node = onnx.helper.make_node("Identity", ["a"], ["b"], doc_string="a node")
    made = onnx.helper.make_graph([node], "g", [], [], list(tensors))
    return memoryview(onnx.helper.make_model(made, doc_string="a model").SerializeToString())


@given(
    st.lists(
        st.tuples(
            NAMES,
            st.sampled_from(sorted(TYPES)),
            st.lists(st.integers(0, 2**40), max_size=4),
            st.booleans(),
            st.integers(0, 2**50),
        ),
        max_size=6,
    )
)
def test_every_tensor_outside_is_found_with_its_place(listed: list[tuple[str, int, list[int], bool, int]]) -> None:
    tensors = [
        tensor(name, kind, shape, external=external, location="w.data", offset=offset, length=1)
        for name, kind, shape, external, offset in listed
    ]
    assert weights(graph(*tensors)) == [
        Weight(name=name, location="w.data", offset=offset, shape=tuple(shape), dtype=np.dtype(TYPES[kind]))
        for name, kind, shape, external, offset in listed
        if external
    ]


def test_the_numbers_are_those_that_the_library_reads(tmp_path: Path) -> None:
    import onnx

    files = variant_files(tmp_path)
    found = {
        weight.name: weight.of(memoryview(files["model.onnx.data"]))
        for weight in weights(memoryview(files["model.onnx"]))
    }
    model = onnx.load(tmp_path / "model.onnx")
    assert {"tokens", "places"} <= set(found)
    for initializer in model.graph.initializer:
        if initializer.name in found:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(initializer), found[initializer.name])


def test_a_scalar_and_an_empty_tensor() -> None:
    scalar = Weight(name="s", location="w", offset=4, shape=(), dtype=np.dtype("int32"))
    assert scalar.of(memoryview(b"\0\0\0\0\x07\0\0\0")) == 7
    empty = Weight(name="e", location="w", offset=8, shape=(0, 3), dtype=np.dtype("float32"))
    assert empty.of(memoryview(b"\0" * 8)).shape == (0, 3)


@pytest.mark.parametrize("offset", [-1, 5, 2**70])
def test_a_tensor_that_is_not_in_the_file(offset: int) -> None:
    weight = Weight(name="w", location="model.onnx.data", offset=offset, shape=(1,), dtype=np.dtype("float32"))
    with pytest.raises(FormatError, match=r"^w: expected to lie within the 8 bytes of model\.onnx\.data, found "):
        weight.of(memoryview(bytes(8)))


def test_a_type_that_numpy_does_not_have() -> None:
    with pytest.raises(FormatError, match=r"^w: expected a data type among float32, .* found number 16$"):
        weights(graph(tensor("w", 16, [1], external=True, location="x")))


@given(st.binary(max_size=60))
def test_what_is_no_graph_is_an_error_or_has_no_weights(data: bytes) -> None:
    try:
        found = weights(memoryview(data))
    except FormatError:
        return
    assert all(isinstance(weight, Weight) for weight in found)


@given(st.data())
def test_a_damaged_graph_is_an_error_or_another_graph(data: st.DataObject) -> None:
    whole = bytes(graph(tensor("w", 1, [2, 3], external=True, location="x", offset=4096)))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] = data.draw(st.integers(0, 255))
    for damaged in (bytes(changed), whole[:place]):
        try:
            weights(memoryview(damaged))
        except FormatError:
            continue
