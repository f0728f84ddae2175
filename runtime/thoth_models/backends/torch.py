"""The ``torch`` backend: sentence-transformers in fp32 on the CPU, from an absolute path, offline.

The only importer of torch and sentence_transformers.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.errors import BackendError, BackendUnavailableError, ThothModelsError
from thoth_models.offline import assert_offline, enforce_offline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from thoth_models.embedding import FloatArray
    from thoth_models.verify import VerifiedVariant

_BATCH_SIZE = 32
"""Texts per batch where the caller does not say; the default of sentence-transformers."""


class TorchBackend:
    """A :class:`sentence_transformers.SentenceTransformer` behind the interface of a backend.

    Raises:
        BackendUnavailableError: sentence-transformers or torch is not installed.
        BackendError: The files do not make a model, or not the one that the manifest describes.
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
            raise BackendUnavailableError(
                f"the torch backend needs sentence-transformers and torch, which cannot be imported ({error}); "
                "install thoth-models[torch]"
            ) from error
        assert_offline()
        try:
            with _quiet(transformers_logging):
                self._model = sentence_transformers.SentenceTransformer(
                    # Absolute: a relative path is also a valid repository id, and would be looked up at the Hub.
                    str(verified.directory),
                    device="cpu",
                    local_files_only=True,
                    trust_remote_code=False,
                    # fp32 forced: a half-precision checkpoint would otherwise run in half precision, many times slower.
                    model_kwargs={"dtype": torch.float32, "use_safetensors": True},
                )
        except ThothModelsError:
            raise
        except Exception as error:
            raise BackendError(
                f"sentence-transformers could not load the model: {type(error).__name__}: {error}"
            ) from error
        self._model.float()
        self._model.eval()
        self._check(verified)
        # Tokenizers refuse a second caller while their padding settings change ("Already borrowed").
        self._lock = threading.Lock()

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
        """Return the model's output for ``texts``, float32 of shape (len(texts), dimension)."""
        with self._lock:
            try:
                vectors = self._model.encode(
                    texts,
                    # The empty prompt, not None: the prompt was resolved already, and None would ask for the default.
                    prompt=prompt or "",
                    batch_size=batch_size or _BATCH_SIZE,
                    show_progress_bar=show_progress_bar,
                    convert_to_numpy=True,
                )
            except ThothModelsError:
                raise
            except Exception as error:
                raise BackendError(f"sentence-transformers failed: {type(error).__name__}: {error}") from error
        return np.asarray(vectors, dtype=np.float32)


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
