"""Backends: each the only importer of its libraries, and each fed with verified variants only."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING

from thoth_models.errors import BackendUnavailableError

if TYPE_CHECKING:
    from thoth_models.embedding import Backend
    from thoth_models.verify import VerifiedVariant

_MODULES = {"onnx": "thoth_models.backends.onnx", "torch": "thoth_models.backends.torch"}


def import_libraries(name: str) -> None:
    """Import what the backend ``name`` and its callers need, so that loading it will not have to wait for that.

    Says nothing of what goes wrong: :func:`load_backend` comes upon the same again, and reports it.
    """
    with contextlib.suppress(Exception):
        for module in ("golden", "agreement", "embedding"):
            importlib.import_module(f"thoth_models.{module}")
        importlib.import_module(_MODULES[name])


def load_backend(verified: VerifiedVariant) -> Backend:
    """Make the backend that the manifest names for a variant.

    Raises:
        BackendUnavailableError: Its libraries are not installed, or this release of the runtime does not know it.
        BackendError: The libraries could not make a model of the files.
        OfflineViolation: Loading tried to use the network.
    """
    # Imported here because importing them imports their libraries: for torch seconds, and hundreds of megabytes.
    if verified.variant.backend == "onnx":
        from thoth_models.backends.onnx import OnnxBackend  # noqa: PLC0415

        return OnnxBackend(verified)
    if verified.variant.backend == "torch":
        from thoth_models.backends.torch import TorchBackend  # noqa: PLC0415

        return TorchBackend(verified)
    known = ", ".join(_MODULES)
    raise BackendUnavailableError(
        f"expected a backend that this release of thoth-models knows ({known}), found {verified.variant.backend!r}"
    )
