"""Files of weights whose headers lie: neither builder nor runtime makes a model of them, and both name the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import copy_bundle, make_bundle, make_writable, tiny_plan
from thoth_models import ModelUnavailableError, load_embedding
from thoth_models.backends.checkpoint.formats import unreadable_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

    Lie = Callable[[dict[str, Any], bytes], bytes]

pytestmark = pytest.mark.torch

WEIGHTS = "model.safetensors"
FIRST, SECOND = "embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight"
"""The tensors that come first in the file."""


def written(header: object, data: bytes, *, length: int | None = None) -> bytes:
    """Return a file with this header, whatever it says, and a length of it that may lie as well."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def with_values(name: str, **values: Any) -> Lie:
    return lambda header, data: written({**header, name: {**header[name], **values}}, data)


def with_length(length: int) -> Lie:
    return lambda header, data: written(header, data, length=length)


def repeated(header: dict[str, Any], data: bytes) -> bytes:
    """Name the first tensor twice, the second time at the place of another one."""
    text = json.dumps(header)[:-1] + ", " + json.dumps({FIRST: header[SECOND]})[1:]
    return written(text.encode(), data)


LIES: dict[str, Lie] = {
    "a range beyond the file": with_values(FIRST, data_offsets=[0, 10**12]),
    "a range before the file": with_values(FIRST, data_offsets=[-128, 0]),
    "a range that ends before it begins": with_values(FIRST, data_offsets=[128, 0]),
    "ranges that overlap": with_values(SECOND, data_offsets=[0, 128]),
    "a hole": lambda header, data: written({name: header[name] for name in header if name != FIRST}, data),
    "bytes after the last tensor": lambda header, data: written(header, data + b"\0"),
    "a byte too few": lambda header, data: written(header, data[:-1]),
    "another shape": with_values(FIRST, shape=[3, 3]),
    "a shape of more bytes than there are numbers for": with_values(FIRST, shape=[2**62, 2**62]),
    "an empty shape of a huge width": with_values(FIRST, shape=[0, 2**62]),
    "a shape that is none": with_values(FIRST, shape=[1.5]),
    "an unknown type": with_values(FIRST, dtype="Q17"),
    "a name twice": repeated,
    "a header of 2 GB": with_length(2**31),
    "a header of 8 EB": with_length(2**63),
    "a header of all there can be": with_length(2**64 - 1),
    "a header longer than the file": lambda header, data: written(header, data, length=len(data) + 10**6),
    "a header of another kind": lambda _header, data: written([], data),
    "a header that is deep": lambda _header, data: written(b'{"a":' * 100_000 + b"}" * 100_000, data),
    "no header": lambda _header, data: written(b"no", data),
    "nothing": lambda _header, _data: b"",
}


@pytest.fixture
def model(tmp_path: Path, wordpiece_model: TinyModel) -> TinyModel:
    """A model of its own for a test to change."""
    directory = copy_bundle(wordpiece_model.directory, tmp_path / "model")
    return type(wordpiece_model)(directory, max_seq_length=64, pooling="mean", has_normalize=True)


def change(file: Path, lie: Lie) -> None:
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    file.write_bytes(lie(json.loads(data[8:end]), data[end:]))


@pytest.mark.hostile
@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_header_that_lies_makes_no_model(model: TinyModel, tmp_path: Path, lie: Lie) -> None:
    from thoth_models_builder.compile.errors import UnusableModelError
    from thoth_models_builder.compile.loading.load_checked import load_checked

    change(model.directory / WEIGHTS, lie)
    said = f"{WEIGHTS}: expected a file of safetensors, found "
    with pytest.raises(UnusableModelError, match=said):
        load_checked(model.directory)
    root = tmp_path / "bundle"
    make_bundle(root, [tiny_plan("mini", model)], default="mini")
    with pytest.raises(ModelUnavailableError, match=f"sentence-transformers could not load the model: {said}"):
        load_embedding(root=root)
    make_writable(root)


def test_the_same_weights_with_a_header_that_does_not_lie_make_one(model: TinyModel, tmp_path: Path) -> None:
    change(model.directory / WEIGHTS, written)
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", model)], default="mini")
    assert load_embedding(root=tmp_path / "bundle").encode("water").shape == (32,)
    assert unreadable_weights(model.directory) == []


@pytest.mark.hostile
@pytest.mark.parametrize("length", [2**31, 2**63])
def test_a_stray_file_of_weights_is_named_and_its_header_not_read(
    model: TinyModel, tmp_path: Path, length: int
) -> None:
    """The library reads one file alone, but the number formats of all are looked at."""
    (model.directory / "other.safetensors").write_bytes(written({}, b"", length=length))
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", model)], default="mini")
    said = rf"other\.safetensors: expected a file of safetensors, found another one \(a header of {length} bytes\)"
    with pytest.raises(ModelUnavailableError, match=said):
        load_embedding(root=tmp_path / "bundle")
