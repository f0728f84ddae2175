"""The ``onnx`` backend: a graph of the whole pipeline in onnxruntime, and the tokenizer of `tokenizers`, on the CPU.

The only importer of onnxruntime and tokenizers. Importing this module imports both.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from thoth_models.backends.batching import Padding, batches, blocks
from thoth_models.canonical import FormatError, parse_json
from thoth_models.environment import threads
from thoth_models.errors import BackendError, BackendUnavailableError

try:
    import onnxruntime
    import tokenizers
except Exception as error:  # onnxruntime raises whatever kept its library from being loaded
    raise BackendUnavailableError(
        f"the onnx backend needs onnxruntime and tokenizers, which cannot be imported ({error}); "
        "install thoth-models[onnx]"
    ) from error
from thoth_models.parallel import parallel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from thoth_models.canonical import Node
    from thoth_models.embedding import FloatArray
    from thoth_models.verify import VerifiedVariant

OUTPUT = "sentence_embedding"
_INPUTS = ("attention_mask", "input_ids", "pooling_mask", "token_type_ids")
_VERSION = 1

_TOKENS_PER_THREAD = 192
"""Tokens that a batch has per thread, padding included. Larger batches are slower, not faster: what passes between the
layers of a small model then no longer fits into the cache of a core."""

_MOST_TEXTS, _MOST_CHARACTERS = 1024, 2**18
"""What is tokenised at once: enough to sort by length, and a few megabytes of tokens."""

_LARGEST_TOKEN = 2**31 - 1

_SPIN = 50
"""Microseconds that an idle thread of onnxruntime waits for work before it sleeps. The next operator comes sooner than
that, and without a limit the threads of idle or crowded processes take cores from those that have work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What ``settings.json`` says of a variant: how its texts become the inputs of its graph.

    Attributes:
        inputs: Names of the graph's inputs, sorted.
        add_special_tokens: Whether the tokenizer puts its own tokens around each text.
        padding: What fills the places behind, or before, the tokens of a text.
        max_tokens: Longest input, special tokens counted, or None where there is no limit.
        excludes_prompt: Whether the tokens of a prompt take no part in pooling.
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
            FormatError: It is not what this release reads; the message names the key.
        """
        root = parse_json(data)
        keys = root.table(
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
    if value > _LARGEST_TOKEN:
        raise node.wrong(f"an integer of at most {_LARGEST_TOKEN}")
    return value


class OnnxBackend:
    """A verified graph and its tokenizer behind the interface of a backend. Threads may share it.

    The weights are not copied: they stay in the mapped file, so that processes share them. onnxruntime computes with
    :func:`thoth_models.environment.threads` threads. `tokenizers` has threads of its own, by default as many as there
    are usable cores; they work for milliseconds, and its own variable ``RAYON_NUM_THREADS`` limits them.

    Raises:
        BackendError: The files do not make a model, or not the one that the manifest describes.
        EnvironmentFault: ``THOTH_MODELS_THREADS`` is no number of threads.
    """

    def __init__(self, verified: VerifiedVariant) -> None:
        count = threads()
        directory = verified.directory
        with _reported("settings.json cannot be read"):
            self._settings = Settings.from_bytes((directory / "settings.json").read_bytes())

        def make_tokenizer() -> Any:  # noqa: ANN401 - neither library has types
            with _reported("tokenizer.json cannot be read"):
                return tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))

        def make_session() -> Any:  # noqa: ANN401
            with _reported("onnxruntime could not load model.onnx"):
                return _session(directory / "model.onnx", count, precision=verified.variant.precision)

        # Side by side: both libraries leave the interpreter alone while they read.
        self._tokenizer, self._session = parallel(lambda make: make(), (make_tokenizer, make_session), workers=2)
        self._dimension = verified.model.dimension
        self._check(verified)
        self._most_tokens = _TOKENS_PER_THREAD * count
        self._prompt_lengths: dict[str, int] = {}
        # Runs at once share the workers and wait for each other, and each needs memory of its own.
        self._turns = threading.BoundedSemaphore(max(1, count // 2))

    def _check(self, verified: VerifiedVariant) -> None:
        """Compare graph and tokenizer with the settings and the manifest."""
        settings, truncation = self._settings, self._tokenizer.truncation
        found_outputs = [(output.name, output.type, output.shape[1:]) for output in self._session.get_outputs()]
        compared: list[tuple[str, object, object]] = [
            ("tokenizer.json: padding", None, self._tokenizer.padding),
            (
                "tokenizer.json: truncation",
                settings.max_tokens,
                None if truncation is None else truncation["max_length"],
            ),
            # Of static embeddings sentence-transformers says that they have no limit; their tokenizer may yet have one.
            ("settings.json: max_tokens", verified.built.max_seq_length or settings.max_tokens, settings.max_tokens),
            (
                "model.onnx: inputs",
                [(name, "tensor(int64)", 2) for name in settings.inputs],
                sorted((value.name, value.type, len(value.shape)) for value in self._session.get_inputs()),
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

        With ``show_progress_bar`` a line on standard error counts the texts that are done.

        Raises:
            BackendError: A library failed, or the graph gave something else than vectors.
        """
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        prompt_length = self._prompt_length(prompt) if prompt and self._settings.excludes_prompt else 0
        done = 0
        for block in blocks(texts, most_texts=_MOST_TEXTS, most_characters=_MOST_CHARACTERS):
            encodings = self._tokenize([f"{prompt or ''}{texts[index]}" for index in block])
            lengths = [len(encoding) for encoding in encodings]
            for batch in batches(lengths, most_tokens=self._most_tokens, most_texts=batch_size):
                rows = [block[position] for position in batch]
                vectors[rows] = self._run([encodings[position] for position in batch], prompt_length)
                done += len(batch)
                if show_progress_bar:
                    end = "\n" if done == len(texts) else ""
                    sys.stderr.write(f"\rencoded {done} of {len(texts)} texts{end}")
                    sys.stderr.flush()
        return vectors

    def _run(self, encodings: list[tokenizers.Encoding], prompt_length: int) -> FloatArray:
        asks_for_types = "token_type_ids" in self._settings.inputs
        arrays = self._settings.padding.arrays(
            self._settings.inputs,
            [encoding.ids for encoding in encodings],
            [encoding.type_ids for encoding in encodings] if asks_for_types else [],
            prompt_length=prompt_length,
        )
        with self._turns, _reported("onnxruntime could not run model.onnx"):
            (vectors,) = self._session.run([OUTPUT], arrays)
        expected = (len(encodings), self._dimension)
        if vectors.shape != expected or vectors.dtype != np.float32:
            raise BackendError(
                f"model.onnx: expected float32 of shape {expected}, found {vectors.dtype} of shape {vectors.shape}"
            )
        return vectors  # type: ignore[no-any-return]

    def _tokenize(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        # In batches also where there is one text: only these calls leave the interpreter to other threads meanwhile.
        with _reported("the tokenizer failed"):
            encodings: list[tokenizers.Encoding] = self._tokenizer.encode_batch_fast(
                texts, add_special_tokens=self._settings.add_special_tokens
            )
            return encodings

    def _prompt_length(self, prompt: str) -> int:
        """Return how many tokens of a text are its prompt, as sentence-transformers counts them.

        That is, the tokens of the prompt alone, without the special one that may end it.
        """
        if prompt not in self._prompt_lengths:
            (encoding,) = self._tokenize([prompt])
            added = self._tokenizer.get_added_tokens_decoder()
            special = {token_id for token_id, token in added.items() if token.special}
            ends_special = bool(encoding.ids) and encoding.ids[-1] in special
            # Prompts come from callers: a service that makes a new one for each call must not fill the memory.
            if len(self._prompt_lengths) >= _MOST_TEXTS:
                self._prompt_lengths.clear()
            self._prompt_lengths[prompt] = len(encoding) - ends_special
        return self._prompt_lengths[prompt]


def _session(path: Path, count: int, *, precision: str) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Make the session; the options are those that measured best for a short start and little memory of one's own."""
    options = onnxruntime.SessionOptions()
    # The builder optimised the graph already.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = count
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN))
    if precision == "fp32":
        # Packing copies the weights: tens of milliseconds, and memory that processes do not share, for 2 % of speed.
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.log_severity_level = 4  # fatal ones; an error is raised, and need not stand on standard error as well
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """Turn a failure of a library into a :class:`BackendError` that says ``what`` failed."""
    try:
        yield
    except FormatError as error:
        raise BackendError(f"{what}: {error}") from error
    except BaseException as error:
        # What tokenizers raises where its own code is at fault is no Exception, and has no name to import.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BackendError(f"{what}: {type(error).__name__}: {error}") from error
