"""The ``onnx`` backend: a graph of the whole pipeline in onnxruntime, and the tokenizer of `tokenizers`, on the CPU.

The only importer of tokenizers. Importing this module imports tokenizers, and through ``onnx_sessions`` onnxruntime.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from thoth_models.backends.batching import Padding, batches, blocks
from thoth_models.backends.failing_text import expect_tokens, run_texts
from thoth_models.backends.onnx_sessions import OUTPUT, Graph, Sessions, content
from thoth_models.backends.tokenizer_threads import is_panic, with_or_without_threads
from thoth_models.bundle.canonical_json import FormatError, parse_json
from thoth_models.errors import BackendError, BackendUnavailableError, ThothModelsError
from thoth_models.inputs import MAX_CHARACTERS
from thoth_models.process.environment import threads

try:
    import tokenizers
except Exception as error:
    raise BackendUnavailableError(
        f"the onnx backend needs tokenizers, which cannot be imported ({error}); install thoth-models[onnx]"
    ) from error
from thoth_models.process.parallel import parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from thoth_models.bundle.canonical_json import Node
    from thoth_models.types import FloatArray
    from thoth_models.verification.verify import VerifiedVariant

_INPUTS = ("attention_mask", "input_ids", "pooling_mask", "token_type_ids")
_VERSION = 1

_MAX_TEXTS = 1024
"""How many texts are tokenised at once, of at most ``MAX_CHARACTERS`` characters together: enough to sort by length,
but only a few megabytes of tokens."""

_MAX_TOKEN = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The content of ``settings.json``: how texts become the inputs of the graph.

    Attributes:
        inputs: Names of the graph's inputs, sorted.
        add_special_tokens: Whether the tokenizer adds its special tokens to each text.
        padding: The padding of a batch.
        max_tokens: Longest input, including special tokens, or None for no limit.
        excludes_prompt: Whether the tokens of a prompt are excluded from pooling.
    """

    inputs: tuple[str, ...]
    add_special_tokens: bool
    padding: Padding
    max_tokens: int | None
    excludes_prompt: bool

    @classmethod
    def from_bytes(cls, data: bytes) -> Settings:
        """Read the content of ``settings.json``.

        Raises:
            FormatError: The content does not have the form that this release reads; the message names the key.
        """
        root = parse_json(data)
        keys = root.members(
            "version",
            "inputs",
            "add_special_tokens",
            "pad_token_id",
            "pad_token_type_id",
            "padding_side",
            "max_tokens",
            "excludes_prompt",
        )
        keys["version"].one_of(_VERSION)
        inputs = keys["inputs"].sorted_unique(lambda node: node.one_of(*_INPUTS))
        if "input_ids" not in inputs:
            raise keys["inputs"].wrong("input_ids among them")
        excludes_prompt = keys["excludes_prompt"].boolean()
        if excludes_prompt != ("pooling_mask" in inputs):
            raise keys["excludes_prompt"].wrong("true exactly if pooling_mask is among the inputs")
        side: Literal["left", "right"] = "left" if keys["padding_side"].one_of("left", "right") == "left" else "right"
        limit = keys["max_tokens"]
        return cls(
            inputs=inputs,
            add_special_tokens=keys["add_special_tokens"].boolean(),
            padding=Padding(
                token_id=_token(keys["pad_token_id"]),
                token_type_id=_token(keys["pad_token_type_id"]),
                side=side,
            ),
            max_tokens=None if limit.value is None else limit.integer(minimum=1),
            excludes_prompt=excludes_prompt,
        )


def _token(node: Node) -> int:
    value = node.integer(minimum=0)
    if value > _MAX_TOKEN:
        raise node.wrong(f"an integer of at most {_MAX_TOKEN}")
    return value


class OnnxBackend:
    """A verified graph and its tokenizer as a backend. Threads may share it.

    It uses the pages that were compared, and opens no file again. The weights are not copied: they stay in those pages,
    which processes share. onnxruntime computes with :func:`thoth_models.process.environment.threads` threads.
    `tokenizers` has its own threads, by default as many as there are usable cores; they run for milliseconds, and the
    variable ``RAYON_NUM_THREADS`` limits them.

    Raises:
        BackendError: The files are not a working model, or not the one that the manifest describes.
        EnvironmentFault: ``THOTH_MODELS_THREADS`` is not a valid number of threads.
    """

    def __init__(self, verified: VerifiedVariant) -> None:
        count = threads()
        with _reported("settings.json cannot be read"):
            self._settings = Settings.from_bytes(bytes(content(verified, "settings.json")))

        with _reported("onnxruntime could not load model.onnx"):
            graph = Graph.of(verified)

        def make_tokenizer() -> Any:  # noqa: ANN401 - the library has no types
            with _reported("tokenizer.json cannot be read"):
                return tokenizers.Tokenizer.from_buffer(bytes(content(verified, "tokenizer.json")))

        def make_session(count: int) -> Any:  # noqa: ANN401 - the library has no types
            with _reported("onnxruntime could not load model.onnx"):
                return graph.session(count)

        # A session first: it releases the interpreter lock while it is made, which a tokenizer does not. All are made
        # now, although a service with one caller may never need the second session: onnxruntime checks that the weight
        # file exists, and after loading, nothing may depend on storage that may disappear or stop answering.
        makers: list[Callable[[], Any]] = [partial(make_session, count), make_tokenizer, partial(make_session, 1)]
        wide, self._tokenizer, *narrow = parallel(lambda make: make(), makers[: 2 if count == 1 else 3], workers=2)
        self._sessions = Sessions(graph, wide, narrow[0] if narrow else wide, count)
        self._dimension = verified.model.dimension
        self._check(verified)
        self._prompt_lengths: dict[str, int] = {}

    def _check(self, verified: VerifiedVariant) -> None:
        """Compare graph and tokenizer with the settings and the manifest."""
        settings, truncation = self._settings, self._tokenizer.truncation
        found_outputs = [(output.name, output.type, output.shape[1:]) for output in self._sessions.outputs]
        compared: list[tuple[str, object, object]] = [
            ("tokenizer.json: padding", None, self._tokenizer.padding),
            (
                "tokenizer.json: truncation",
                settings.max_tokens,
                None if truncation is None else truncation["max_length"],
            ),
            # For static embeddings sentence-transformers reports no limit, even if their tokenizer has one.
            ("settings.json: max_tokens", verified.built.max_seq_length or settings.max_tokens, settings.max_tokens),
            (
                "model.onnx: inputs",
                [(name, "tensor(int64)", 2) for name in settings.inputs],
                sorted((value.name, value.type, len(value.shape)) for value in self._sessions.inputs),
            ),
            ("model.onnx: outputs", [(OUTPUT, "tensor(float)", [self._dimension])], found_outputs),
        ]
        if wrong := [
            f"{place}: expected {expected}, found {found}" for place, expected, found in compared if expected != found
        ]:
            raise BackendError("; ".join(wrong))

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the model's output for ``texts``, float32 of shape (len(texts), dimension).

        With ``show_progress_bar`` a line on standard error shows how many texts are done.

        Raises:
            BackendError: A library failed, or the output of the graph is not an array of vectors. The message begins
                with the index of the text if one makes it fail.
            InvalidInputError: A text has no tokens; the message has its index.
        """
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        prompt_length = self._prompt_length(prompt) if prompt and self._settings.excludes_prompt else 0
        progress = _Progress(len(texts), shown=show_progress_bar)
        for block in blocks(texts, most_texts=_MAX_TEXTS, most_characters=MAX_CHARACTERS, prompt=prompt):
            # In a method, so that the tokens of a block are freed before the next one is tokenised.
            vectors[block.start : block.stop] = self._encode_block(
                [f"{prompt or ''}{texts[index]}" for index in block], block.start, prompt_length, batch_size, progress
            )
        return vectors

    def _encode_block(
        self, texts: list[str], first: int, prompt_length: int, batch_size: int | None, progress: _Progress
    ) -> FloatArray:
        """Return the vectors of a block, of which ``first`` is the index of the first text in the caller's list."""
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        places = range(len(texts))
        encodings = run_texts(places, lambda some: self._tokenize([texts[place] for place in some]), first=first)
        lengths = [len(encoding) for encoding in encodings]
        if self._settings.add_special_tokens:  # static embeddings add none, and give zeros for an empty text
            expect_tokens(lengths, first=first)

        def compute(batch: Sequence[int]) -> FloatArray:
            return self._run([encodings[position] for position in batch], prompt_length)

        def run(batch: list[int]) -> None:
            vectors[batch] = run_texts(batch, compute, first=first)
            progress.add(len(batch))

        with self._sessions.calling(lengths) as (workers, most_tokens):
            planned = list(batches(lengths, most_tokens=most_tokens, most_texts=batch_size))
            if workers > 1:
                parallel(run, planned, workers)
            else:
                for batch in planned:
                    run(batch)
        return vectors

    def _run(self, encodings: list[tokenizers.Encoding], prompt_length: int) -> FloatArray:
        asks_for_types = "token_type_ids" in self._settings.inputs
        arrays = self._settings.padding.arrays(
            self._settings.inputs,
            [encoding.ids for encoding in encodings],
            [encoding.type_ids for encoding in encodings] if asks_for_types else [],
            prompt_length=prompt_length,
        )
        with _reported("onnxruntime could not run model.onnx"):
            vectors = self._sessions.run(arrays)
        expected = (len(encodings), self._dimension)
        if vectors.shape != expected or vectors.dtype != np.float32:
            raise BackendError(
                f"model.onnx: expected float32 of shape {expected}, found {vectors.dtype} of shape {vectors.shape}"
            )
        return vectors

    def _tokenize(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        # As a batch even for one text: only the batch calls release the interpreter lock.
        with _reported("the tokenizer failed"):
            encodings: list[tokenizers.Encoding] = with_or_without_threads(
                lambda: self._tokenizer.encode_batch_fast(texts, add_special_tokens=self._settings.add_special_tokens)
            )
            return encodings

    def _prompt_length(self, prompt: str) -> int:
        """Return how many tokens of a text belong to its prompt, as sentence-transformers counts them.

        These are the tokens of the prompt alone, without the special token that may end it.
        """
        if prompt not in self._prompt_lengths:
            (encoding,) = self._tokenize([prompt])
            added = self._tokenizer.get_added_tokens_decoder()
            special = {token_id for token_id, token in added.items() if token.special}
            ends_special = bool(encoding.ids) and encoding.ids[-1] in special
            # Prompts come from callers, and a service that creates a new one for each call must not fill the memory.
            if len(self._prompt_lengths) >= _MAX_TEXTS:
                self._prompt_lengths.clear()
            self._prompt_lengths[prompt] = len(encoding) - ends_special
        return self._prompt_lengths[prompt]


class _Progress:
    """A line on standard error that shows how many texts are done; threads may share it."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total, self._done, self._shown = total, 0, shown
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        if not self._shown:
            return
        with self._lock:
            self._done += count
            end = "\n" if self._done == self._total else ""
            sys.stderr.write(f"\rencoded {self._done} of {self._total} texts{end}")
            sys.stderr.flush()


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """Convert an error of a library to a :class:`BackendError` that says ``what`` failed."""
    try:
        yield
    except FormatError as error:
        raise BackendError(f"{what}: {error}") from error
    except ThothModelsError:
        raise
    except BaseException as error:
        if not _is_of_a_library(error):
            raise
        raise BackendError(f"{what}: {type(error).__name__}: {error}") from error


def _is_of_a_library(error: BaseException) -> bool:
    """Return whether a library raised the error, and not a signal handler, whose exception must reach the caller."""
    kind = type(error)
    if is_panic(error):
        return True
    if not isinstance(error, Exception) or isinstance(error, TimeoutError):
        return False
    return kind.__module__.partition(".")[0] in ("builtins", "onnxruntime", "tokenizers", "numpy", "thoth_models")
