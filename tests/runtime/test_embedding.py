from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import DIMENSION, FakeBackend, embedding_of, invented_model
from thoth_models import CallerError, Embedding, InvalidInputError, UnknownPromptError
from thoth_models.embedding import unit_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROMPTS = {"query": "q: ", "passage": "p: ", "empty": ""}


class Name(str, enum.Enum):  # noqa: UP042 - a StrEnum would print as its value, which is not the case to test
    ALPHA = "alpha"


def make(normalize: bool = True, **options: Any) -> tuple[Embedding, FakeBackend]:  # noqa: FBT001, FBT002
    backend = FakeBackend()
    return embedding_of(invented_model("mini", normalize=normalize, **options), backend), backend


def test_what_it_says_of_itself() -> None:
    embedding, _ = make()
    assert embedding.dimension == embedding.get_sentence_embedding_dimension() == DIMENSION
    assert embedding.max_seq_length == 16
    assert embedding.info.model == "mini"
    assert repr(embedding) == f"<Embedding mini/torch-fp32, 8 dimensions, space {embedding.info.space[:12]}>"


# --- what goes in, and its shape coming out ---


def test_one_text() -> None:
    embedding, backend = make()
    vector = embedding.encode("alpha")
    assert vector.shape == (DIMENSION,)
    assert vector.dtype == np.float32
    assert backend.texts == ["alpha"]


@pytest.mark.parametrize(
    "texts",
    [
        ["alpha", "beta"],
        ("alpha", "beta"),
        np.array(["alpha", "beta"]),
        np.array(["alpha", "beta"], dtype=object),
        (text for text in ("alpha", "beta")),
        {"alpha": 1, "beta": 2}.keys(),
        [Name.ALPHA, np.str_("beta")],
    ],
    ids=["list", "tuple", "array", "array of objects", "generator", "keys of a table", "subclasses"],
)
def test_any_iterable_of_texts(texts: Iterable[str]) -> None:
    embedding, backend = make(normalize=False)
    vectors = embedding.encode(texts)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.array_equal(vectors, [backend.vector("alpha"), backend.vector("beta")])
    assert backend.texts == ["alpha", "beta"]
    assert {type(text) for text in backend.texts} == {str}


@pytest.mark.parametrize("text", ["", np.str_("alpha"), Name.ALPHA, "🙂" * 3, "a\0b"])
def test_one_text_of_any_kind(text: str) -> None:
    embedding, backend = make()
    assert embedding.encode(text).shape == (DIMENSION,)
    assert type(backend.texts[0]) is str
    assert backend.texts == [text]


@pytest.mark.parametrize("nothing", [[], (), np.array([], dtype=str), iter(())])
def test_no_texts(nothing: Iterable[str]) -> None:
    embedding, backend = make()
    vectors = embedding.encode(nothing, truncate_dim=3)
    assert vectors.shape == (0, 3)
    assert vectors.dtype == np.float32
    assert embedding.encode([]).shape == (0, DIMENSION)
    assert backend.texts == []


class Table:
    """As a DataFrame, which iterates over the names of its columns."""

    ndim = 2

    def __iter__(self) -> Iterator[str]:
        return iter(["text"])


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (["a", "b", None], r"^sentences\[2\]: expected a str, found NoneType$"),
        ([b"a"], r"^sentences\[0\]: expected a str, found bytes$"),
        ([["a"]], r"^sentences\[0\]: expected a str, found list$"),
        (np.array([["a", "b"]]), "^sentences: expected a str or an iterable of str, found ndarray of 2 dimensions$"),
        ({"a"}, "^sentences: expected a str or an iterable of str, found set$"),
        (frozenset("a"), "^sentences: expected a str or an iterable of str, found frozenset$"),
        (Table(), "^sentences: expected a str or an iterable of str, found Table of 2 dimensions$"),
        ([float("nan")], r"^sentences\[0\]: expected a str, found float$"),
        (b"a", "^sentences: expected a str or an iterable of str, found bytes$"),
        (bytearray(b"a"), "^sentences: expected a str or an iterable of str, found bytearray$"),
        (None, "^sentences: expected a str or an iterable of str, found NoneType$"),
        (3, "^sentences: expected a str or an iterable of str, found int$"),
        ("a\ud800", "^sentences: expected Unicode text, found a lone surrogate at 1$"),
        (["a", "\udcff"], r"^sentences\[1\]: expected Unicode text, found a lone surrogate at 0$"),
        (["a", "x" * 262_145], r"^sentences\[1\]: expected at most 262,144 characters, found 262,145; divide"),
    ],
)
def test_what_is_no_text(sentences: Any, message: str) -> None:
    embedding, backend = make()
    for encode in (embedding.encode, embedding.encode_query, embedding.encode_document):
        with pytest.raises(InvalidInputError, match=message) as caught:
            encode(sentences)
    assert isinstance(caught.value, CallerError)
    assert isinstance(caught.value, ValueError)
    assert backend.texts == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1, found 0"),
        ({"batch_size": 2.0}, "batch_size: expected an integer of at least 1, found 2.0"),
        ({"batch_size": True}, "batch_size: expected an integer of at least 1, found True"),
        ({"truncate_dim": 0}, "truncate_dim: expected an integer of at least 1, found 0"),
        ({"truncate_dim": 9}, "truncate_dim: expected at most 8, found 9"),
        ({"truncate_dim": "4"}, "truncate_dim: expected an integer of at least 1, found '4'"),
        ({"convert_to_numpy": False}, "convert_to_numpy: expected True, found False"),
        ({"convert_to_tensor": True}, "convert_to_tensor: expected False or None, found True"),
        ({"device": "cuda"}, "device: expected None or 'cpu', found 'cuda'"),
        ({"precision": "int8"}, "precision: expected 'float32', found 'int8'"),
        ({"output_value": ["token_embeddings"]}, "output_value: expected 'sentence_embedding', found"),
        ({"pool": {"input": None}}, "pool: expected None, found"),
        ({"chunk_size": np.arange(2)}, "chunk_size: expected None, found"),
        ({"batch": 3}, "batch: expected an option that encode has, found 3"),
        ({"prompt": 1}, "prompt: expected a str, found int"),
        ({"prompt": "\ud800"}, "prompt: expected Unicode text, found a lone surrogate at 0"),
        ({"normalize_embeddings": "no"}, "normalize_embeddings: expected True, False or None, found 'no'"),
    ],
)
def test_unusable_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()[0].encode("alpha", **options)
    with pytest.raises(InvalidInputError, match=message):
        make()[0].encode([], **options)


def test_arguments_that_ask_for_what_is_done_anyway() -> None:
    embedding, backend = make()
    vectors = embedding.encode(
        ["alpha"],
        batch_size=32,
        show_progress_bar=None,
        output_value="sentence_embedding",
        precision="float32",
        convert_to_numpy=True,
        convert_to_tensor=False,
        device="cpu",
        pool=None,
        chunk_size=None,
    )
    assert np.array_equal(vectors, embedding.encode(["alpha"]))
    assert backend.texts == ["alpha", "alpha"]


@pytest.mark.parametrize(
    "sentences", [{"text": "water"}, np.array("water")], ids=["a table", "an array of no dimension"]
)
def test_what_iterates_over_something_else_or_not_at_all(sentences: Any) -> None:
    with pytest.raises(InvalidInputError, match="sentences: expected a str or an iterable of str, found "):
        make()[0].encode(sentences)


@pytest.mark.parametrize("vectors", [[[1, 0], [1]], ["a", "b"], [[1j]]], ids=["ragged", "text", "complex"])
def test_what_is_no_vector(vectors: Any) -> None:
    with pytest.raises(InvalidInputError, match="first: expected numbers of shape"):
        make()[0].similarity(vectors, [[1, 0]])


def test_the_batch_size_reaches_the_backend() -> None:
    embedding, backend = make()
    embedding.encode(["alpha"], batch_size=np.int64(7))  # type: ignore[arg-type]
    embedding.encode(["alpha"])
    assert backend.batch_sizes == [7, None]


class Broken(FakeBackend):
    def __init__(self, answer: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.answer = answer

    def encode(self, texts: list[str], **_options: Any) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [np.zeros((1, 8)), np.zeros((1, 7), np.float32), np.zeros((2, 8), np.float32)])
def test_a_backend_that_breaks_its_word(answer: np.ndarray[Any, Any]) -> None:
    with pytest.raises(AssertionError, match=r"expected float32 of shape \(1, 8\), found float"):
        embedding_of(invented_model("mini"), Broken(answer)).encode("alpha")


# --- normalisation and truncation ---


@pytest.mark.parametrize(
    ("list_says", "call_says", "expected"),
    [
        (True, None, True), (False, None, False), (True, False, False),
        (False, True, True), (True, True, True), (False, False, False),
    ],
)  # fmt: skip
def test_unit_length(list_says: bool, call_says: bool | None, expected: bool) -> None:  # noqa: FBT001
    embedding, backend = make(normalize=list_says)
    vector = embedding.encode("alpha", normalize_embeddings=call_says)
    raw = backend.vector("alpha")
    assert np.allclose(vector, raw / np.linalg.norm(raw) if expected else raw)


def test_truncation_comes_before_normalisation() -> None:
    embedding, backend = make()
    vectors = embedding.encode(["alpha", "beta"], truncate_dim=3)
    assert vectors.shape == (2, 3)
    assert vectors.flags.c_contiguous
    raw = backend.vector("alpha")[:3]
    assert np.allclose(vectors[0], raw / np.linalg.norm(raw))
    assert np.array_equal(embedding.encode("alpha", truncate_dim=3, normalize_embeddings=False), raw)
    assert embedding.encode("alpha", truncate_dim=8).shape == (8,)


def test_a_vector_of_zeros_stays() -> None:
    vectors = np.array([[0, 0], [3, 4]], dtype=np.float32)
    found = unit_length(vectors)
    assert found.dtype == np.float32
    assert np.allclose(found, np.array([[0.0, 0.0], [0.6, 0.8]]))


# --- prompts ---


@pytest.mark.parametrize(
    ("method", "default", "options", "expected"),
    [
        ("encode", None, {}, None),
        ("encode", "query", {}, "q: "),
        ("encode", "query", {"prompt_name": "passage"}, "p: "),
        ("encode", "query", {"prompt_name": "empty"}, ""),
        ("encode", None, {"prompt": "x: "}, "x: "),
        ("encode", "query", {"prompt": ""}, ""),
        ("encode", None, {"prompt": "x: ", "prompt_name": "query"}, "x: "),
        ("encode_query", None, {}, "q: "),
        ("encode_query", "passage", {}, "q: "),
        ("encode_query", None, {"prompt_name": "passage"}, "p: "),
        ("encode_query", None, {"prompt": "x: "}, "x: "),
        ("encode_query", None, {"prompt": ""}, ""),
        ("encode_document", None, {}, "p: "),
        ("encode_document", "query", {}, "p: "),
        ("encode_document", None, {"prompt_name": "query"}, "q: "),
    ],
)
def test_which_prompt_is_used(method: str, default: str | None, options: dict[str, Any], expected: str | None) -> None:
    embedding, backend = make(prompts=PROMPTS, default_prompt_name=default)
    getattr(embedding, method)("alpha", **options)
    assert backend.prompts == [expected]


@pytest.mark.parametrize("method", ["encode_query", "encode_document"])
def test_without_such_a_prompt_not_even_the_default_one_is_used(method: str) -> None:
    embedding, backend = make(prompts={"other": "o: "}, default_prompt_name="other")
    getattr(embedding, method)(["alpha"])
    embedding.encode(["alpha"])
    assert backend.prompts == ["", "o: "]


def test_the_order_of_document_prompts() -> None:
    for names, expected in (
        (("corpus", "passage", "document"), "document: "),
        (("corpus", "passage"), "passage: "),
        (("corpus", "query"), "corpus: "),
    ):
        embedding, backend = make(prompts={name: f"{name}: " for name in names})
        embedding.encode_document("alpha")
        assert backend.prompts == [expected]


@pytest.mark.parametrize(("prompts", "known"), [(PROMPTS, "empty, passage, query"), ({}, "none")])
def test_an_unknown_prompt_lists_the_known_ones(prompts: dict[str, str], known: str) -> None:
    embedding, _ = make(prompts=prompts)
    for encode in (embedding.encode, embedding.encode_query, embedding.encode_document):
        with pytest.raises(UnknownPromptError, match=f"no prompt 'title' for the model 'mini'; known: {known}$"):
            encode("alpha", prompt_name="title")


# --- similarity, against other libraries in backends/test_torch.py ---


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("cosine", [[1, 0], [0.6, 0.8]]),
        ("dot", [[2, 0], [3, 8]]),
        ("euclidean", [[-1, -np.sqrt(8)], [-np.sqrt(20), -np.sqrt(13)]]),
        ("manhattan", [[-1, -4], [-6, -5]]),
    ],
)
def test_similarity(measure: str, expected: Any) -> None:
    embedding = embedding_of(replace(invented_model("mini"), similarity=measure), FakeBackend())
    found = embedding.similarity([[2, 0], [3, 4]], np.array([[1, 0], [0, 2]]))
    assert found.dtype == np.float32
    assert np.allclose(found, expected)


def test_similarity_of_single_vectors_and_of_none() -> None:
    embedding, _ = make()
    assert np.allclose(embedding.similarity([1, 0], [1, 0]), [[1]])
    assert embedding.similarity(np.zeros((0, 3)), np.zeros((2, 3))).shape == (0, 2)
    for measure in ("dot", "euclidean", "manhattan"):
        other = embedding_of(replace(invented_model("mini"), similarity=measure), FakeBackend())
        assert other.similarity(np.zeros((0, 3)), np.zeros((2, 3))).shape == (0, 2)
        assert other.similarity(np.zeros((2, 3)), np.zeros((0, 3))).shape == (2, 0)


def test_similarity_of_shapes_that_do_not_fit() -> None:
    embedding, _ = make()
    with pytest.raises(InvalidInputError, match="second: expected vectors of length 2, found 3"):
        embedding.similarity([[1, 2]], [[1, 2, 3]])
    with pytest.raises(InvalidInputError, match=r"first: expected shape \(n, d\) or \(d,\), found \(1, 1, 1\)"):
        embedding.similarity([[[1]]], [[1]])
    with pytest.raises(InvalidInputError, match="second: expected shape"):
        embedding.similarity([[1]], 1.0)
