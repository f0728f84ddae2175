"""The ``torch`` backend: sentence-transformers in fp32 on the CPU, from an absolute path, offline.

The only importer of torch and sentence_transformers.
"""

from __future__ import annotations

import contextlib
import math
import sys
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.backends.batching import batches, blocks
from thoth_models.backends.onethread import OneThread
from thoth_models.environment import stated_threads, usable_cores
from thoth_models.errors import BackendError, BackendUnavailableError, ThothModelsError
from thoth_models.offline import assert_offline, enforce_offline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sentence_transformers import SentenceTransformer

    from thoth_models.embedding import FloatArray
    from thoth_models.verify import VerifiedVariant

_BATCH_SIZE = 32
"""Texts per batch where the caller does not say; the default of sentence-transformers."""

_MOST_TOKENS = 8192
"""Tokens that a batch has at most, padding included: the default batch of texts of 256 tokens. A caller's batch size
would otherwise decide whether the process is killed for its memory; larger batches are no faster on a CPU."""

_SPECIAL = 8
"""Tokens that a tokenizer puts around a text, at most."""

_MOST_TEXTS, _MOST_CHARACTERS = 16384, 2**26
"""What is given to the library at once."""


class TorchBackend:
    """A :class:`sentence_transformers.SentenceTransformer` behind the interface of a backend. Threads may share it.

    All of torch runs in one thread of this backend's own. The pool that torch computes with belongs to the thread that
    made it, and does not survive ``fork``: a thread that used torch before the fork, whoever made it do so, would wait
    for that pool for ever, where a new thread makes itself a new one. Callers also do not bring settings of theirs with
    them, or have one pool each; and tokenizers refuse a second caller while their padding changes ("Already borrowed").

    torch computes with ``THOTH_MODELS_THREADS`` threads where that is set. Otherwise their number is lowered to the
    usable cores where it is larger, and left as it is where ``OMP_NUM_THREADS`` or the application chose fewer. torch
    keeps one number for the process: threads of the application that have not used it yet get the same.

    Raises:
        BackendUnavailableError: sentence-transformers or torch is not installed.
        BackendError: The files do not make a model, or not the one that the manifest describes.
        EnvironmentFault: ``THOTH_MODELS_THREADS`` is no number of threads.
        OfflineViolation: The offline switch did not take hold.
    """

    def __init__(self, verified: VerifiedVariant) -> None:
        enforce_offline()
        try:
            import sentence_transformers  # noqa: PLC0415 - only after the offline switch is set
            import torch  # noqa: PLC0415
            from transformers.utils import logging as transformers_logging  # noqa: PLC0415
        except ThothModelsError:
            raise
        except Exception as error:  # a broken installation raises what it likes, OSError for a missing library
            # What is there and does not work is not mended by installing it: torch needs a directory that it can
            # write to, which a read-only root without /tmp does not have.
            advice = "; install thoth-models[torch]" if isinstance(error, ModuleNotFoundError) else ""
            raise BackendUnavailableError(
                f"the torch backend needs sentence-transformers and torch, which cannot be imported ({error}){advice}"
            ) from error
        assert_offline()

        def make_model() -> SentenceTransformer:
            _set_threads(torch)
            with _quiet(transformers_logging):
                model = sentence_transformers.SentenceTransformer(
                    # Absolute: a relative path is also a valid repository id, and would be looked up at the Hub.
                    str(verified.directory),
                    device="cpu",
                    local_files_only=True,
                    trust_remote_code=False,
                    # fp32 forced: a half-precision checkpoint would otherwise run in half precision, many times slower.
                    model_kwargs={"dtype": torch.float32, "use_safetensors": True},
                )
            model.float()
            model.eval()
            return model

        self._thread = OneThread("thoth-models-torch")
        try:
            self._model = self._thread.run(make_model)
        except ThothModelsError:
            raise
        except Exception as error:
            raise BackendError(
                f"sentence-transformers could not load the model: {type(error).__name__}: {error}"
            ) from error
        self._dimension = verified.model.dimension
        self._most_tokens = verified.built.max_seq_length or sys.maxsize
        self._check(verified)

    def _check(self, verified: VerifiedVariant) -> None:
        """Compare the loaded model with the manifest: a library that reads the files differently is an error."""
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
            BackendError: The library failed.
        """
        most_texts = batch_size or _BATCH_SIZE

        def run() -> FloatArray:
            vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
            # In blocks, because the library collects a tensor for each text before it puts them together.
            for block in blocks(texts, most_texts=_MOST_TEXTS, most_characters=_MOST_CHARACTERS):
                lengths = [self._length(prompt, texts[index]) for index in block]
                if most_texts * max(lengths) <= _MOST_TOKENS:
                    planned = [list(range(len(block)))]
                else:
                    planned = list(batches(lengths, most_tokens=_MOST_TOKENS, most_texts=most_texts))
                for rows in planned:
                    vectors[[block[row] for row in rows]] = self._model.encode(
                        [texts[block[row]] for row in rows],
                        # The empty prompt, not None: it was resolved already, and None would ask for the default.
                        prompt=prompt or "",
                        batch_size=most_texts,
                        show_progress_bar=show_progress_bar and len(planned) == 1,
                        convert_to_numpy=True,
                    )
                if show_progress_bar and len(planned) > 1:
                    sys.stderr.write(f"encoded {block.stop} of {len(texts)} texts\n")
            return vectors

        try:
            return self._thread.run(run)
        except ThothModelsError:
            raise
        except Exception as error:
            raise BackendError(f"sentence-transformers failed: {type(error).__name__}: {error}") from error

    def _length(self, prompt: str | None, text: str) -> int:
        """Return how many tokens a text may have: tokenizers make no more of it than it has bytes, and a few."""
        return min(self._most_tokens, len((prompt or "").encode()) + len(text.encode()) + _SPECIAL)


def _set_threads(torch: ModuleType) -> None:
    found = torch.get_num_threads()
    count = stated_threads() or min(found, usable_cores())
    if count != found:
        torch.set_num_threads(count)


@contextlib.contextmanager
def _quiet(transformers_logging: ModuleType) -> Iterator[None]:
    """Keep progress bars of loading off standard error, and leave the setting as it was found."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()
