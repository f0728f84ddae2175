"""The object that callers hold: :class:`Embedding`.

Everything that does not depend on the backend is here: checking inputs, prompts, shapes, truncation, normalisation and
similarity. A backend only turns a list of texts into raw vectors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from thoth_models.bundle.agreement import compare
from thoth_models.errors import InvalidInputError, NotPicklableError, UnknownPromptError
from thoth_models.inputs import expect_text, expect_texts
from thoth_models.process.shutdown import late_call
from thoth_models.references import LoadedOnUse, unpickled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import ArrayLike

    from thoth_models.bundle.accuracy import Gate
    from thoth_models.bundle.agreement import Agreement
    from thoth_models.bundle.golden import Golden
    from thoth_models.bundle.manifest import BuiltModel, Model
    from thoth_models.info import EmbeddingInfo
    from thoth_models.types import Backend, FloatArray

_GOLDEN_BATCH = 8
"""Golden texts per batch. torch pads each to the longest of its batch, and one of them is longer than the model takes:
of all-MiniLM-L6-v2, 64 texts took 3.9 s in batches of 32, and 1.3 s in these."""

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Prompt names that sentence-transformers tries for documents, in its order."""


_WITHOUT_EFFECT: Final[dict[str, tuple[object, ...]]] = {
    "chunk_size": (None,),
    "convert_to_tensor": (False, None),
    "device": (None, "cpu"),
    "output_value": ("sentence_embedding",),
    "pool": (None,),
    "precision": ("float32",),
}
"""Other arguments of sentence-transformers, and the values that are accepted because they change nothing."""

_REFERENCES = "thoth_models.manager.embedding_reference"
"""Imported by name when an embedding is pickled, because managers, which create embeddings, are above this module."""


@final
class Embedding(LoadedOnUse):
    """A loaded embedding model.

    Copying returns the same object. Pickling sends a reference: the model is loaded again at the first use in the other
    process, from the same bundle there.

    :func:`thoth_models.load_embedding` creates it; the constructor is for tests that bring their own backend.
    """

    _loaded_attributes = ("_backend", "_golden", "_model", "_built", "_info")

    def __init__(  # noqa: PLR0913 - all that a loaded model consists of
        self,
        backend: Backend,
        model: Model,
        built: BuiltModel,
        info: EmbeddingInfo,
        golden: Golden | None = None,
        *,
        settings: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._backend = backend
        self._golden = golden
        self._model = model
        self._built = built
        self._info = info
        self._settings = settings

    def __repr__(self) -> str:
        """Return name, variant, dimension and the first digits of the space."""
        if not self._is_loaded:
            return f"<Embedding {self._reference}, loaded at its first use>"
        info = self._info
        return f"<Embedding {info.model}/{info.variant}, {self.dimension} dimensions, space {info.space[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return a reference for pickling: model, space and bundle digest, and the settings to load it with.

        Raises:
            NotPicklableError: The backend is the caller's own, not one of a bundle.
        """
        if self._reference is None:
            if self._settings is None:
                raise NotPicklableError(
                    f"expected an embedding that was loaded from a bundle, found one of a backend that only this "
                    f"process has ({type(self._backend).__name__}); pickle what load_embedding or a manager returns"
                )
            self._reference = importlib.import_module(_REFERENCES).refer(self._info, self._settings())
        return unpickled, (type(self), self._reference)

    @property
    def info(self) -> EmbeddingInfo:
        """Which model and variant answers, from which bundle, and what was tried before."""
        return self._info

    @property
    def gate(self) -> Gate | None:
        """The gate that this variant passed when the bundle was built; None for a model without golden vectors."""
        return next(variant.gate for variant in self._built.variants if variant.name == self._info.variant)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._model.dimension

    @property
    def max_seq_length(self) -> int | None:
        """Longest input in tokens, longer ones are truncated; None for no limit."""
        return self._built.max_seq_length

    @property
    def similarity_fn_name(self) -> str:
        """The similarity function of the model: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``."""
        return self._built.similarity

    @property
    def normalizes(self) -> bool:
        """Whether vectors are normalised to unit length unless the caller says otherwise."""
        return self._built.normalize

    def get_sentence_embedding_dimension(self) -> int:
        """Return :attr:`dimension`, under the name that sentence-transformers gave it."""
        return self.dimension

    def encode(  # noqa: PLR0913 - the arguments of sentence-transformers, so that call sites need not change
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int | None = None,
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        show_progress_bar: bool | None = False,
        convert_to_numpy: bool = True,
        **others: Any,  # noqa: ANN401
    ) -> FloatArray:
        """Return the vectors of ``sentences``.

        Args:
            sentences: One text, or any iterable of texts.
            batch_size: Maximum number of texts per batch; None lets the backend choose.
            normalize_embeddings: Normalise vectors to unit length. None for the setting in models.yaml, which is True
                by default. False gives the model's own output, which may have unit length as well.
            truncate_dim: Keep only this many leading dimensions; normalisation comes afterwards.
            prompt_name: Add the model's prompt of this name before each text.
            prompt: Add this string before each text; takes precedence over ``prompt_name``.
            show_progress_bar: Draw progress on standard error, if the backend supports it.
            convert_to_numpy: Must be True; accepted because callers pass it.
            others: Further arguments of sentence-transformers, with values that change nothing: ``device`` None or
                ``cpu``, ``precision="float32"``, ``output_value="sentence_embedding"``, ``convert_to_tensor=False``,
                ``pool`` and ``chunk_size`` None.

        Returns:
            float32 of shape (n, dimension) for n texts, also for n = 0; (dimension,) for one str. ``truncate_dim``
            replaces dimension.

        Raises:
            InvalidInputError: An input is not a str, is longer than :data:`thoth_models.inputs.MAX_CHARACTERS`, or has
                no tokens, as the empty text where a tokenizer adds no special tokens (the message names its index);
                or an argument is out of range.
            BackendError: A library failed; the message names the index of the text if one makes it fail.
            UnknownPromptError: The model has no prompt of that name.
        """
        if convert_to_numpy is not True:
            raise InvalidInputError(
                f"convert_to_numpy: expected True, found {convert_to_numpy!r}; vectors are always numpy arrays, "
                "which torch.from_numpy converts to tensors without a copy"
            )
        if normalize_embeddings not in (None, True, False):
            raise InvalidInputError(
                f"normalize_embeddings: expected True, False or None, found {normalize_embeddings!r}"
            )
        _expect_no_effect(others)
        batch_size = None if batch_size is None else _positive("batch_size", batch_size)
        width = self._width(truncate_dim)
        resolved_prompt = self._prompt(prompt_name, prompt)
        texts = expect_texts("sentences", sentences)
        if texts:
            with late_call():
                vectors = self._backend.encode(
                    texts, prompt=resolved_prompt, batch_size=batch_size, show_progress_bar=bool(show_progress_bar)
                )
            if vectors.shape != (len(texts), self.dimension) or vectors.dtype != np.float32:
                raise AssertionError(
                    f"backend of {self._info.variant}: expected float32 of shape {(len(texts), self.dimension)}, "
                    f"found {vectors.dtype} of shape {vectors.shape}"
                )
        else:
            vectors = np.empty((0, self.dimension), dtype=np.float32)
        vectors = vectors[:, :width]
        if self._built.normalize if normalize_embeddings is None else normalize_embeddings:
            vectors = unit_length(vectors)
        vectors = np.ascontiguousarray(vectors)
        return vectors[0] if isinstance(sentences, str) else vectors

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of search queries: :meth:`encode` with the model's ``query`` prompt, if it has one.

        ``options`` are those of :meth:`encode`. If the model has no ``query`` prompt, no prompt is used, not even the
        default one, as in sentence-transformers.
        """
        return self.encode(sentences, **self._with_prompt(("query",), options))

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> FloatArray:  # noqa: ANN401
        """Return the vectors of documents: :meth:`encode` with the model's ``document`` prompt, if it has one.

        ``options`` are those of :meth:`encode`. If the model has no ``document`` prompt, no prompt is used, not even
        the default one, as in sentence-transformers.
        """
        return self.encode(sentences, **self._with_prompt(_DOCUMENT_PROMPTS, options))

    def similarity(self, first: ArrayLike, second: ArrayLike) -> FloatArray:
        """Return how similar each vector of ``first`` is to each of ``second``, by the model's similarity function.

        Args:
            first: Vectors of shape (n, d), or one of shape (d,).
            second: Vectors of shape (m, d), or one of shape (d,).

        Returns:
            float32 of shape (n, m); larger means more similar, distances are negated.

        Raises:
            InvalidInputError: The shapes do not match.
        """
        left, right = _matrix("first", first), _matrix("second", second)
        if left.shape[1] != right.shape[1]:
            raise InvalidInputError(f"second: expected vectors of length {left.shape[1]}, found {right.shape[1]}")
        match self._built.similarity:
            case "cosine":
                return unit_length(left) @ unit_length(right).T
            case "dot":
                return left @ right.T
            case "euclidean":
                return _negated_distances(left, right, order=2)
            case _:
                return _negated_distances(left, right, order=1)

    def check_golden(self) -> Agreement | None:
        """Encode every golden text on this machine, and compare the vectors with the references in the bundle.

        Returns:
            How closely the vectors follow their references; None for a model without golden vectors.
            ``check_golden().reaches(gate.required_cosine)`` says whether it is close enough.
        """
        golden = self._golden
        if golden is None:
            return None
        found = np.empty_like(golden.vectors)
        # Prompt by prompt, because a call has one prompt for all of its texts.
        for prompt in dict.fromkeys(golden.prompts):
            rows = [row for row, other in enumerate(golden.prompts) if other == prompt]
            # The longest beside the shortest, so that padding is measured too; backends sort the others by length.
            rows.sort(key=lambda row: len(golden.texts[row]))
            for part in ([*rows[:3], *rows[-1:]], rows[3:-1]):
                texts = [golden.texts[row] for row in part]
                found[part] = self.encode(texts, batch_size=_GOLDEN_BATCH, prompt=prompt, normalize_embeddings=False)
        return compare(golden.vectors, found)

    def _width(self, truncate_dim: int | None) -> int:
        if truncate_dim is None:
            return self.dimension
        width = _positive("truncate_dim", truncate_dim)
        if width > self.dimension:
            raise InvalidInputError(f"truncate_dim: expected at most {self.dimension}, found {width}")
        return width

    def _prompt(self, prompt_name: object, prompt: str | None) -> str | None:
        if prompt is not None:
            return expect_text("prompt", prompt)
        name = self._built.default_prompt_name if prompt_name is None else prompt_name
        if name is None:
            return None
        if not isinstance(name, str) or name not in self._built.prompts:
            known = ", ".join(sorted(self._built.prompts)) or "none"
            raise UnknownPromptError(f"no prompt {name!r} for the model {self._model.name!r}; known: {known}")
        return self._built.prompts[name]

    def _with_prompt(self, names: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
        if options.get("prompt") is not None or options.get("prompt_name") is not None:
            return options
        found = next((self._built.prompts[name] for name in names if name in self._built.prompts), "")
        return {**options, "prompt": found}


def _expect_no_effect(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if name not in _WITHOUT_EFFECT:
            raise InvalidInputError(f"{name}: expected an option that encode has, found {value!r}")
        accepted = _WITHOUT_EFFECT[name]
        # Compared one by one, because a value that a caller passes may be neither hashable nor comparable.
        if not any(value is other or (isinstance(value, str) and value == other) for other in accepted):
            expected = " or ".join(map(repr, accepted))
            raise InvalidInputError(f"{name}: expected {expected}, found {value!r}")


def unit_length(vectors: FloatArray) -> FloatArray:
    """Return ``vectors`` of shape (n, d) scaled to length 1; a vector of zeros stays zero.

    The lower limit of 1e-12 for the length is that of torch.nn.functional.normalize.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidInputError(f"{name}: expected an integer of at least 1, found {value!r}")
    return int(value)


def _matrix(name: str, vectors: ArrayLike) -> FloatArray:
    try:
        array = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: expected numbers of shape (n, d) or (d,), found others ({error})") from error
    if array.ndim == 1:
        array = array[np.newaxis, :]
    if array.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise InvalidInputError(f"{name}: expected shape (n, d) or (d,), found {array.shape}")
    return array


def _negated_distances(left: FloatArray, right: FloatArray, *, order: int) -> FloatArray:
    # Row by row, because the differences of all pairs at once would take n * m * d numbers.
    rows = [np.linalg.norm(right - row, ord=order, axis=1) for row in left]
    return -np.asarray(rows, dtype=np.float32).reshape(len(left), len(right))
