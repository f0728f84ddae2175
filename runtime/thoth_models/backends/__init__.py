"""Backends and their wrappers. Each backend alone imports its libraries, and accepts only verified variants."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from thoth_models.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant


# Functions, because importing a backend imports its libraries, which may take seconds and hundreds of megabytes.
def _onnx() -> Callable[[VerifiedVariant], Backend]:
    from thoth_models.backends.onnx import OnnxBackend  # noqa: PLC0415

    return OnnxBackend


def _torch() -> Callable[[VerifiedVariant], Backend]:
    from thoth_models.backends.torch import TorchBackend  # noqa: PLC0415

    return TorchBackend


BACKENDS: Final[dict[str, Callable[[], Callable[[VerifiedVariant], Backend]]]] = {"onnx": _onnx, "torch": _torch}
"""By the backend's name in manifests: imports the libraries of the backend, and returns the function that loads it."""


def import_libraries(name: str) -> None:
    """Import the libraries of the backend ``name`` ahead of loading it.

    A missing library is not an error here; :func:`load_backend` reports it.
    """
    import thoth_models.bundle.agreement  # noqa: PLC0415 - with numpy, see thoth_models.loading.tasks
    import thoth_models.bundle.golden  # noqa: PLC0415
    import thoth_models.embedding  # noqa: F401, PLC0415

    if name in BACKENDS:
        with contextlib.suppress(BackendUnavailableError):
            BACKENDS[name]()


def load_backend(verified: VerifiedVariant) -> Backend:
    """Create the backend that the manifest names for a variant.

    Raises:
        BackendUnavailableError: Its libraries are not installed, or this release does not have such a backend.
        BackendError: The libraries could not make a model of the files.
        OfflineViolation: Loading tried to use the network.
    """
    name = verified.variant.backend
    if name not in BACKENDS:
        known = ", ".join(BACKENDS)
        raise BackendUnavailableError(
            f"expected a backend that this release of thoth-models knows ({known}), found {name!r}"
        )
    return BACKENDS[name]()(verified)
