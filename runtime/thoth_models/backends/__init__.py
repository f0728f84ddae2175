"""Backends: each the only importer of its libraries, and each fed with verified variants only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.errors import BackendUnavailableError

if TYPE_CHECKING:
    from thoth_models.embedding import Backend
    from thoth_models.verify import VerifiedVariant


def load_backend(verified: VerifiedVariant) -> Backend:
    """Make the backend that the manifest names for a variant.

    Raises:
        BackendUnavailableError: Its libraries are not installed, or this release of the runtime does not know it.
        BackendError: The libraries could not make a model of the files.
        OfflineViolation: Loading tried to use the network.
    """
    if verified.variant.backend == "torch":
        # Imported here because importing it imports torch, which takes seconds and hundreds of megabytes.
        from thoth_models.backends.torch import TorchBackend  # noqa: PLC0415

        return TorchBackend(verified)
    raise BackendUnavailableError(
        f"expected a backend that this release of thoth-models knows (torch), found {verified.variant.backend!r}"
    )
