"""What a model of static embeddings is: no configuration says it, so it is read from the header of the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.support.described import facts_of, modules
from tests.support.projects import as_json
from tests.support.tiny_models import make_static_model
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.spec.variants import choose_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.described import Files

WEIGHTS = "0_StaticEmbedding/model.safetensors"
ROWS = '{"__metadata__": {"format": "pt"}, "embedding.weight": {"dtype": "F16", "shape": [50, 12]}}'


def static(header: str, *more: str) -> Files:
    """Return the files of a model of static embeddings, as sentence-transformers writes them."""
    data = header.encode()
    return {
        "modules.json": modules("StaticEmbedding", *more),
        "config_sentence_transformers.json": as_json({"similarity_fn_name": "cosine"}),
        "0_StaticEmbedding/tokenizer.json": b"{}",
        WEIGHTS: len(data).to_bytes(8, "little") + data + bytes(1200),
    }


@pytest.mark.torch
def test_what_is_told_is_what_the_library_says(tmp_path: Path) -> None:
    model = make_static_model(tmp_path / "static")
    paths = [path for path in model.directory.rglob("*") if path.is_file()]
    facts = facts_of({path.relative_to(model.directory).as_posix(): path.read_bytes() for path in paths})
    plain = model.plain()
    assert facts.dimension == plain.get_embedding_dimension() == model.dimension
    assert (facts.max_seq_length, plain.max_seq_length) == (None, math.inf)


def test_a_model_of_static_embeddings() -> None:
    facts = facts_of(static(ROWS, "Normalize"))
    assert (facts.dimension, facts.max_seq_length, facts.pooling) == (12, None, "mean")
    assert facts.has_normalize


def test_rows_that_model2vec_wrote() -> None:
    mapped = '{"mapping": {"shape": [99]}, "weights": {"shape": [99]}, "embeddings": {"shape": [50, 12]}}'
    assert facts_of(static(mapped)).dimension == 12


def test_where_a_dense_follows_the_width_is_that_of_the_dense() -> None:
    contents = static(ROWS, "Dense")
    contents["1_Dense/config.json"] = as_json({"in_features": 12, "out_features": 5})
    contents["1_Dense/model.safetensors"] = b""
    assert facts_of(contents).dimension == 5


def test_of_the_weights_only_the_beginning_is_read() -> None:
    contents = static(ROWS)
    asked: list[tuple[str, int]] = []

    def start(path: str, size: int) -> bytes:
        asked.append((path, size))
        return contents[path][:size]

    small = {path: data for path, data in contents.items() if path != WEIGHTS}
    digests = {path: Digest.of(data) for path, data in contents.items()}
    assert describe(ModelFiles(digests, small.__getitem__, start)).dimension == 12
    assert asked == [(WEIGHTS, 8), (WEIGHTS, 8 + len(ROWS))]


def test_tokenizer_and_weights_are_chosen() -> None:
    contents = static(ROWS)
    assert set(choose_files(contents, {"0_StaticEmbedding"}, ["onnx-fp32"]).included) == set(contents)


HEADER = f"{WEIGHTS}: expected the header of a safetensors file, found something else"
SHAPE = f"{WEIGHTS}: expected embedding.weight or embeddings with a row for each token, found "


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (ROWS.replace("[50, 12]", "[50]"), SHAPE + "[50]"),
        (ROWS.replace("[50, 12]", "[50, 0]"), SHAPE + "[50, 0]"),
        (ROWS.replace("[50, 12]", "[50, true]"), SHAPE + "[50, True]"),
        (ROWS.replace("embedding.weight", "other"), SHAPE + "None"),
        ("{}", SHAPE + "None"),
        ("[]", HEADER),
        ('{"embeddings": 1}', HEADER),
        ("not JSON", HEADER),
    ],
)
def test_a_header_of_weights_without_their_shape_is_refused(header: str, message: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        facts_of(static(header))
    assert str(caught.value) == message


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"", HEADER),
        (b"\x09", HEADER),
        (b"\xff" * 8, f"{WEIGHTS}: expected a header of at most 1048576 bytes, found 18446744073709551615"),
    ],
)
def test_weights_that_are_no_safetensors_file_are_refused(weights: bytes, message: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        facts_of({**static(ROWS), WEIGHTS: weights})
    assert str(caught.value) == message


def test_weights_that_are_split_are_refused() -> None:
    contents = static(ROWS)
    contents["0_StaticEmbedding/model-00001-of-00002.safetensors"] = contents.pop(WEIGHTS)
    with pytest.raises(UnsupportedModelError, match="expected this file, found none"):
        facts_of(contents)
