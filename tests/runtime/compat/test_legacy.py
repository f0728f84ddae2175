"""LegacyEmbeddingAdapter, over invented models."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.old_names import unit
from thoth_models import FallbackWarning, InvalidInputError, ManagerConfig, UnknownModelError
from thoth_models.compat import LegacyEmbeddingAdapter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.old_names import Backends


def test_the_call_shapes_of_sentence_transformers(config: ManagerConfig, backends: Backends) -> None:
    adapter = LegacyEmbeddingAdapter("legacy", config=config)
    assert backends.made == []
    vectors = adapter.encode(["a", "b"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, 8)
    np.testing.assert_allclose(vectors[0], unit("a"), rtol=1e-6)
    assert adapter.encode("a").shape == (8,)
    assert adapter.encode([]).shape == (0, 8)
    assert adapter.get_sentence_embedding_dimension() == adapter.get_embedding_dimension() == 8
    np.testing.assert_allclose(adapter.similarity(vectors, vectors[:1])[0], [1.0], rtol=1e-6)
    assert adapter.max_seq_length == 16
    assert adapter.info.model == "mini"
    assert adapter.info.fallback is None
    assert repr(adapter) == "<LegacyEmbeddingAdapter legacy>"


def test_names_with_their_organisation(config: ManagerConfig) -> None:
    """sentence-transformers itself takes a name without one for one of its own."""
    adapter = LegacyEmbeddingAdapter("sentence-transformers/all-MiniLM-L6-v2", config=config)
    np.testing.assert_allclose(adapter.encode("a"), unit("a"), rtol=1e-6)
    assert (adapter.info.model, adapter.info.fallback) == ("mini", None)
    with pytest.raises(UnknownModelError):
        LegacyEmbeddingAdapter("sentence-transformers/nothing", config=config).encode("a")


def test_prompts(config: ManagerConfig) -> None:
    adapter = LegacyEmbeddingAdapter("legacy", config=config)
    np.testing.assert_allclose(adapter.encode_query("a"), unit("a", "query: "), rtol=1e-6)
    np.testing.assert_allclose(adapter.encode_document(["a"]), [unit("a", "passage: ")], rtol=1e-6)
    np.testing.assert_allclose(adapter.encode("a", prompt="p"), unit("a", "p"), rtol=1e-6)


def test_options_that_ask_for_what_is_done_anyway(config: ManagerConfig) -> None:
    vectors = LegacyEmbeddingAdapter(config=config).encode(
        ["a"],
        batch_size=32,
        show_progress_bar=False,
        output_value="sentence_embedding",
        precision="float32",
        convert_to_numpy=True,
        convert_to_tensor=False,
        device="cpu",
        normalize_embeddings=True,
        pool=None,
        chunk_size=None,
    )
    np.testing.assert_allclose(vectors, [unit("a")], rtol=1e-6)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("convert_to_tensor", True, "convert_to_tensor: expected False or None, found True"),
        ("device", "cuda", "device: expected None or 'cpu', found 'cuda'"),
        ("precision", "int8", "precision: expected 'float32', found 'int8'"),
        ("output_value", ["token_embeddings"], "output_value: expected 'sentence_embedding'"),
        ("convert_to_numpy", False, "convert_to_numpy: expected True, found False"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    config: ManagerConfig, option: str, value: object, message: str
) -> None:
    adapter = LegacyEmbeddingAdapter(config=config)
    options: dict[str, Any] = {option: value}
    for encode in (adapter.encode, adapter.encode_query, adapter.encode_document):
        with pytest.raises(InvalidInputError, match=message):
            encode(["a"], **options)


def test_an_old_name_of_another_model_is_told(moved: ManagerConfig) -> None:
    adapter = LegacyEmbeddingAdapter("default", config=moved)
    with pytest.warns(FallbackWarning, match="mini .* answers for 'default', which meant") as found:
        adapter.encode("a")
    assert found[0].filename == __file__
    assert adapter.info.fallback == str(found[0].message)


def test_where_warnings_are_errors_every_call_by_an_old_name_of_another_model_is_refused(moved: ManagerConfig) -> None:
    adapter = LegacyEmbeddingAdapter("default", config=moved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(FallbackWarning, match=r"mini .* answers for 'default', which meant"):
                adapter.encode("a")
    with pytest.warns(FallbackWarning):
        adapter.encode("a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapter.encode("a")


def test_an_old_name_that_is_not_listed_says_what_to_list(moved: ManagerConfig) -> None:
    with pytest.raises(UnknownModelError, match=r"in models.yaml with `aliases: \[fast\]`"):
        LegacyEmbeddingAdapter("fast", config=moved).encode("a")


def test_default_where_there_is_none(tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default=None)
    with pytest.raises(UnknownModelError, match=r"with `aliases: \[default\]`, or a default model"):
        LegacyEmbeddingAdapter(config=ManagerConfig(root=root)).encode("a")
    make_writable(root)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="model_name: expected a str, found NoneType"):
        LegacyEmbeddingAdapter(None)  # type: ignore[arg-type]
