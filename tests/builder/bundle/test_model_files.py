"""The files of a model: what is JSON, what a header says, and how little of the weights is read for it."""

from __future__ import annotations

import math

import pytest

from tests.support.projects import as_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.errors import UnsupportedModelError


def model_files(contents: dict[str, bytes]) -> ModelFiles:
    return ModelFiles({path: Digest.of(data) for path, data in contents.items()}, contents.__getitem__)


def test_an_object_and_a_list() -> None:
    files = model_files({"config.json": as_json({"a": 1}), "modules.json": as_json([])})
    assert files.json("config.json", dict) == {"a": 1}
    assert files.json("modules.json", list) == []
    assert files.optional_object("other.json") == {}


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected JSON, found something else"),
        (b'{"a": NaN}', "expected JSON, found something else"),
        (b"[" * 100_000, "expected JSON, found something else"),
        (b"[]", "expected a JSON dict, found list"),
    ],
)
def test_a_configuration_that_is_not_the_expected_json_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        model_files({"config.json": content}).json("config.json", dict)


def test_values_of_a_large_file_are_taken_as_they_are() -> None:
    assert math.isnan(model_files({"a.json": b'{"a": NaN}'}).json("a.json", dict, is_large=True)["a"])


def test_content_of_which_the_digest_alone_is_known_cannot_be_read() -> None:
    files = model_files({}).changed("big", ContentDigest(size=9, sha256=Digest.of(b"big")))
    assert files.digests == {"big": Digest.of(b"big")}
    with pytest.raises(UnsupportedModelError, match="big: expected a small file"):
        files.json("big", dict)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"config\.json: expected this file, found none"):
        model_files({}).json("config.json", dict)


def test_the_shapes_of_the_tensors() -> None:
    header = b'{"__metadata__": {"format": "pt"}, "a": {"shape": [2, 3]}, "b": {"shape": []}}'
    data = len(header).to_bytes(8, "little") + header + bytes(24)
    assert model_files({"model.safetensors": data}).shapes("model.safetensors") == {"a": [2, 3], "b": []}
