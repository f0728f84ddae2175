"""The ``torch`` backend: sentence-transformers in fp32 on the CPU, from an absolute path, offline.

The only importer of torch and sentence_transformers.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.backends.batching import batches, blocks
from thoth_models.backends.checkpoint.faults import faults
from thoth_models.backends.checkpoint.formats import unreadable_weights
from thoth_models.backends.checkpoint.reports import load_reports
from thoth_models.backends.failing_text import expect_tokens, run_texts
from thoth_models.backends.tokenizer_threads import is_panic, is_refusal, with_or_without_threads
from thoth_models.errors import BackendError, BackendUnavailableError, ThothModelsError
from thoth_models.inputs import MAX_CHARACTERS
from thoth_models.process.daemon_executor import DaemonExecutor
from thoth_models.process.environment import stated_threads, usable_cores
from thoth_models.process.offline import assert_offline, enforce_offline
from thoth_models.process.shutdown import computing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from sentence_transformers import SentenceTransformer

    from thoth_models.types import FloatArray
    from thoth_models.verification.verify import VerifiedVariant

_BATCH_SIZE = 32
"""Default number of texts per batch, that of sentence-transformers."""

_MAX_TOKENS = 8192
"""Maximum number of tokens of a batch, including padding: 32 texts of 256 tokens. Without it, a large batch size of a
caller could get the process killed for its memory; larger batches are not faster on a CPU."""

_SPECIAL = 8
"""Maximum number of special tokens that a tokenizer adds to a text."""

_MAX_TEXTS, _MAX_CHARACTERS = 16384, 2**26
"""Number of texts that are passed to the library at once."""


class TorchBackend:
    """A :class:`sentence_transformers.SentenceTransformer` as a backend. Threads may share it.

    All of torch runs in one thread of this backend. There are three reasons. The thread pool of torch belongs to the
    thread that created it, and does not survive ``fork``: a thread that used torch before the fork would wait for its
    pool for ever, while a new thread creates a new pool. With one thread there is also one pool, not one per caller
    with the caller's settings. And tokenizers refuse a second caller while their padding changes ("Already borrowed").

    torch computes with ``THOTH_MODELS_THREADS`` threads if that is set. Otherwise the number of threads is lowered to
    the usable cores, but not changed if ``OMP_NUM_THREADS`` or the application chose fewer. torch has one number for
    the whole process: threads of the application that have not used torch yet get the same.

    Raises:
        BackendUnavailableError: sentence-transformers or torch is not installed.
        BackendError: The files are not a working model, or not the one that the manifest describes, or its weights or
            tokens are not complete; see :func:`thoth_models.backends.checkpoint.faults.faults`.
        EnvironmentFault: ``THOTH_MODELS_THREADS`` is not a valid number of threads.
        OfflineViolation: The offline switch is not effective.
    """

    def __init__(self, verified: VerifiedVariant) -> None:
        enforce_offline()
        try:
            import sentence_transformers  # noqa: PLC0415 - only after the offline switch is set
            import torch  # noqa: PLC0415
            from transformers import PreTrainedModel  # noqa: PLC0415
            from transformers.utils import logging as transformers_logging  # noqa: PLC0415
        except ThothModelsError:
            raise
        except Exception as error:  # a broken installation may raise anything, such as OSError for a missing library
            # No advice to install if an installed library cannot be imported: torch needs a writable directory, which a
            # read-only root without /tmp does not have.
            advice = "; install thoth-models[torch]" if isinstance(error, ModuleNotFoundError) else ""
            raise BackendUnavailableError(
                f"the torch backend needs sentence-transformers and torch, which cannot be imported ({error}){advice}"
            ) from error
        assert_offline()

        def make_model() -> SentenceTransformer:
            _set_threads(torch)
            with _quiet(transformers_logging), load_reports(PreTrainedModel) as reports:
                model = sentence_transformers.SentenceTransformer(
                    # Absolute, because a relative path is also a valid repository id, which would be looked up on the
                    # Hub.
                    str(verified.directory),
                    device="cpu",
                    local_files_only=True,
                    trust_remote_code=False,
                    # Always fp32: a half-precision checkpoint would otherwise run in half precision, many times slower.
                    model_kwargs={"dtype": torch.float32, "use_safetensors": True},
                )
            if wrong := faults(model, verified.directory, reports):
                raise BackendError("; ".join(wrong))
            model.float()
            model.eval()
            return model

        self._thread = DaemonExecutor(1, "thoth-models-torch", around=computing)
        try:
            self._model = self._thread.submit(make_model).result()
            # Static embeddings give zeros for a text without tokens.
            self._adds_tokens = self._thread.submit(
                lambda: getattr(self._model[0], "auto_model", None) is None or self._tokens(None, "") > 0
            ).result()
        except ThothModelsError:
            raise
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            reasons = unreadable_weights(verified.directory) or [f"{type(error).__name__}: {error}"]
            raise BackendError(f"sentence-transformers could not load the model: {'; '.join(reasons)}") from error
        self._dimension = verified.model.dimension
        self._most_tokens = verified.built.max_seq_length or sys.maxsize
        self._check(verified)

    def _check(self, verified: VerifiedVariant) -> None:
        """Compare the loaded model with the manifest, to detect a library that reads the files differently."""
        found = {
            "dimension": self._model.get_embedding_dimension(),
            # Infinite for static embeddings, which have no limit.
            "max_seq_length": None if self._model.max_seq_length == math.inf else self._model.max_seq_length,
            "dtype": ", ".join(sorted({str(parameter.dtype) for parameter in self._model.parameters()})),
        }
        expected = {
            "dimension": verified.model.dimension,
            "max_seq_length": verified.built.max_seq_length,
            "dtype": "torch.float32",
        }
        if wrong := [key for key in expected if found[key] != expected[key]]:
            raise BackendError(
                "; ".join(f"{key}: expected {expected[key]} (the manifest), found {found[key]}" for key in wrong)
            )

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the model's output for ``texts``, float32 of shape (len(texts), dimension).

        Raises:
            BackendError: The library failed. The message begins with the index of the text if one makes it fail.
            InvalidInputError: A text has no tokens; the message has its index.
        """
        most_texts = batch_size or _BATCH_SIZE

        def compute(indices: Sequence[int], *, shown: bool = False) -> FloatArray:
            with _reported():
                vectors: FloatArray = self._model.encode(
                    [texts[index] for index in indices],
                    # The empty string, not None, which would mean the model's default prompt.
                    prompt=prompt or "",
                    batch_size=most_texts,
                    show_progress_bar=shown,
                    convert_to_numpy=True,
                )
                return vectors

        def run() -> FloatArray:
            vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
            if not self._adds_tokens:
                expect_tokens([self._tokens(prompt, text) for text in texts])
            # In blocks, because the library collects a tensor for each text before it joins them.
            for block in blocks(texts, most_texts=_MAX_TEXTS, most_characters=_MAX_CHARACTERS, prompt=prompt):
                planned = self._planned([texts[index] for index in block], prompt, most_texts)
                shown = show_progress_bar and len(planned) == 1
                for rows in planned:
                    indices = [block[row] for row in rows]
                    vectors[indices] = run_texts(indices, functools.partial(compute, shown=shown))
                if show_progress_bar and len(planned) > 1:
                    sys.stderr.write(f"encoded {block.stop} of {len(texts)} texts\n")
            return vectors

        with _reported():
            return self._thread.submit(lambda: with_or_without_threads(run)).result()

    def _planned(self, texts: list[str], prompt: str | None, most_texts: int) -> list[list[int]]:
        """Divide texts into calls of the library, as positions: one call if each of its batches is small enough."""
        lengths = [self._length(prompt, text) for text in texts]
        longest = max(map(len, texts)) + len(prompt or "")
        if most_texts * max(lengths) <= _MAX_TOKENS and most_texts * longest <= MAX_CHARACTERS:
            return [list(range(len(texts)))]
        return [
            [rows[place] for place in part]
            for rows in batches(lengths, most_tokens=_MAX_TOKENS, most_texts=most_texts)
            # The library tokenises the texts of a batch at once, whatever the model takes of them.
            for part in blocks(
                [texts[row] for row in rows], most_texts=most_texts, most_characters=MAX_CHARACTERS, prompt=prompt
            )
        ]

    def _tokens(self, prompt: str | None, text: str) -> int:
        return len(self._model.tokenizer(f"{prompt or ''}{text}", verbose=False)["input_ids"])

    def _length(self, prompt: str | None, text: str) -> int:
        """Return an upper bound for the tokens of a text: its length in bytes, and the special tokens."""
        return min(self._most_tokens, len((prompt or "").encode()) + len(text.encode()) + _SPECIAL)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Convert an error of the library to a :class:`BackendError`."""
    try:
        yield
    except ThothModelsError:
        raise
    except BaseException as error:
        # Not a refusal of threads, after which the texts are tokenised again without.
        if not (isinstance(error, Exception) or is_panic(error)) or is_refusal(error):
            raise
        raise BackendError(f"sentence-transformers failed: {type(error).__name__}: {error}") from error


def _set_threads(torch: ModuleType) -> None:
    found = torch.get_num_threads()
    count = stated_threads() or min(found, usable_cores())
    if count != found:
        torch.set_num_threads(count)


@contextlib.contextmanager
def _quiet(transformers_logging: ModuleType) -> Iterator[None]:
    """Disable the progress bars of loading, and restore the setting afterwards."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()
