"""The only way in which the compiler loads a model: checked by the rule of the runtime, before anything is computed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import torch
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedModel

from thoth_models.backends.checkpoint.faults import faults
from thoth_models.backends.checkpoint.formats import unreadable_weights
from thoth_models.backends.checkpoint.reports import load_reports
from thoth_models.backends.tokenizer_threads import is_panic
from thoth_models_builder.compile.errors import SandboxError, UnusableModelError
from thoth_models_builder.compile.loading.older_code import for_older_code
from thoth_models_builder.compile.sandbox.proof import is_confined

if TYPE_CHECKING:
    from pathlib import Path

_OF_THE_FILES: Final = (AttributeError, IndexError, KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What the library raises for files that make no model, beside panics of its parts in Rust, and what safetensors
raises for weights. Not ImportError, which is about this environment."""


def load_checked(directory: Path, *, runs_code: bool = False, **model_options: Any) -> SentenceTransformer:  # noqa: ANN401 - those of the library
    """Load a model directory in fp32 on the CPU.

    Args:
        directory: Absolute path of the directory, which contains the whole model.
        runs_code: Whether the model's own code may run; only in the sandbox.
        model_options: Further options for transformers, such as ``attn_implementation``.

    Raises:
        UnusableModelError: The library cannot load it, or its weights or tokens are not complete; the message names
            the tensors and tokens.
        SandboxError: Code would run outside of the sandbox.
    """
    if runs_code and not is_confined():
        raise SandboxError("expected a model's own code to be loaded in the sandbox, found a process without one")
    with load_reports(PreTrainedModel) as reports, for_older_code() if runs_code else contextlib.nullcontext():
        try:
            model = SentenceTransformer(
                str(directory),
                device="cpu",
                local_files_only=True,
                trust_remote_code=runs_code,
                model_kwargs={"dtype": torch.float32, "use_safetensors": True, **model_options},
            )
            wrong = faults(model, directory, reports)
        except BaseException as error:
            reasons = unreadable_weights(directory) if isinstance(error, Exception) else []
            if not (reasons or isinstance(error, _OF_THE_FILES) or is_panic(error)):
                raise
            found = "; ".join(reasons) or f"{type(error).__name__}: {_line(error)}"
            raise UnusableModelError(f"expected a model that sentence-transformers loads, found {found}") from error
    if wrong:
        raise UnusableModelError("\n".join(wrong))
    # `dtype` does not apply to modules other than the transformer.
    model.float()
    model.eval()
    return model


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
