"""The list of the tensors that lie outside of a graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tests.support.onnx_models import TENSORS_NAME, variant_files
from thoth_models.backends.onnx_external_data import _SIZES, ExternalTensor, read_tensors, tensors_document
from thoth_models.bundle.canonical_json import FormatError, canonical_json

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {"bool": 1, "float16": 2, "float32": 4, "float64": 8, "int8": 1, "int64": 8, "uint8": 1, "uint32": 4}


@st.composite
def lists(draw: st.DrawFn) -> list[ExternalTensor]:
    """Tensors one behind the other, with gaps between them."""
    tensors, place = [], 0
    for name in draw(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=6, unique=True)):
        kind = draw(st.sampled_from(sorted(TYPES)))
        shape = tuple(draw(st.lists(st.integers(0, 2**13), max_size=4)))
        place += draw(st.integers(0, 2**50))
        length = math.prod(shape) * TYPES[kind]
        tensors.append(ExternalTensor(name=name, type=kind, shape=shape, offset=place, length=length))
        place += length
    return tensors


@given(lists(), st.randoms())
def test_any_list_survives_its_bytes_in_whatever_order_it_was_made(tensors: list[ExternalTensor], random: Any) -> None:
    found = read_tensors(tensors_document(tensors))
    assert sorted(found, key=repr) == sorted(tensors, key=repr)
    shuffled = list(tensors)
    random.shuffle(shuffled)
    assert tensors_document(shuffled) == tensors_document(tensors)


@pytest.mark.hostile
@given(lists(), st.data())
def test_a_damaged_list_of_tensors_is_an_error_or_another_list_that_is_in_itself_right(
    tensors: list[ExternalTensor], data: st.DataObject
) -> None:
    whole = tensors_document(tensors)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] = data.draw(st.integers(0, 255))
    for damaged in (bytes(changed), whole[:place]):
        try:
            found = read_tensors(damaged)
        except FormatError:
            continue
        end = 0
        for tensor in found:
            assert tensor.length == math.prod(tensor.shape) * np.dtype(tensor.type).itemsize
            assert tensor.offset >= end
            end = tensor.offset + tensor.length


@pytest.mark.onnx
def test_the_numbers_are_those_that_the_library_reads(tmp_path: Path) -> None:
    import onnx

    files = variant_files(tmp_path)
    data = memoryview(files["model.onnx.data"])
    found = {tensor.name: tensor.view(data) for tensor in read_tensors(files[TENSORS_NAME])}
    model = onnx.load(tmp_path / "model.onnx")
    assert set(found) == {"tokens", "places"}
    for initializer in model.graph.initializer:
        if initializer.name in found:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(initializer), found[initializer.name])


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "w", "type": "float32", "shape": [2, 3], "offset": 4096, "length": 24, **changes}


def document(*tensors: dict[str, Any], version: int = 1) -> bytes:
    return canonical_json({"version": version, "tensors": list(tensors)})


def test_a_view_is_of_the_pages_that_it_is_given() -> None:
    (listed,) = read_tensors(document(tensor(offset=4, shape=[2], length=8)))
    data = bytearray(np.arange(3, dtype="<f4").tobytes())
    view = listed.view(memoryview(data))
    assert view.tolist() == [1.0, 2.0]
    data[4:8] = np.array([7], dtype="<f4").tobytes()
    assert view.tolist() == [7.0, 2.0]


def test_the_sizes_of_numbers_are_those_of_numpy() -> None:
    assert {name: np.dtype(name).itemsize for name in _SIZES} == _SIZES


def test_a_scalar_and_an_empty_tensor() -> None:
    scalar, empty = read_tensors(
        document(tensor(name="s", type="int32", shape=[], offset=4, length=4), tensor(shape=[0, 3], offset=8, length=0))
    )
    assert scalar.view(memoryview(b"\0\0\0\0\x07\0\0\0")) == 7
    assert empty.view(memoryview(b"\0" * 8)).shape == (0, 3)


@pytest.mark.hostile
@pytest.mark.parametrize("offset", [5, 2**63 - 1])
def test_a_tensor_that_is_not_in_the_file(offset: int) -> None:
    (listed,) = read_tensors(document(tensor(shape=[1], length=4, offset=offset)))
    with pytest.raises(FormatError, match=r"^w: expected to lie within the 8 bytes of the weights, found "):
        listed.view(memoryview(bytes(8)))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not json", "expected JSON in UTF-8"),
        (b"[]", "the document: expected an object, found a list"),
        (document(version=2), "version: expected 1, found 2"),
        (document(tensor(offset=-1)), "tensors[0].offset: expected an integer of at least 0"),
        (document(tensor(offset="0")), "tensors[0].offset: expected an integer, found a string"),
        (document(tensor(shape=[2, -3])), "tensors[0].shape[1]: expected an integer of at least 0"),
        (document(tensor(shape=[2, 3.0])), "expected integers only, found 3.0"),
        (document(tensor(shape=6)), "tensors[0].shape: expected a list, found an integer"),
        (document(tensor(type="bfloat16")), 'tensors[0].type: expected "float32" or'),
        (document(tensor(type=1)), 'tensors[0].type: expected "float32" or'),
        (document(tensor(name=None)), "tensors[0].name: expected a string, found nothing"),
        (document(tensor(length=23)), "tensors[0].length: expected 24 bytes for float32 of shape (2, 3), found 23"),
        (document(tensor(type="float64")), "tensors[0].length: expected 48 bytes for float64"),
        (document(tensor(location="x")), "tensors[0]: expected only the keys"),
        (document({"name": "w"}), "tensors[0]: expected the key 'type'"),
        (document(tensor(), tensor(offset=8192)), "tensors[1]: expected each name once, found 'w' again"),
        (
            document(tensor(), tensor(name="v", offset=4119)),
            "tensors[1]: expected an offset of at least 4120, behind the tensor before, found 4119",
        ),
        (document(tensor(), tensor(name="v", offset=0)), "tensors[1]: expected an offset of at least 4120"),
    ],
)
def test_a_malformed_list_of_tensors_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_tensors(data)
    assert str(caught.value).startswith(message)
