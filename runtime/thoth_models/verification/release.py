"""Refuse the roll-back to an older release: compare the number in the manifest with the lowest one that is accepted.

The number is that of models.yaml. It is worth as much as the manifest: with a signature that was verified before, it is
a statement of the signer; without one, who can replace the bundle can state any number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.bundle.manifest import MANIFEST_NAME
from thoth_models.errors import Problem, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest


def check_release(root: Path, manifest: Manifest, min_release: int | None) -> None:
    """Check that a bundle is not older than the lowest release that is accepted.

    Args:
        root: The bundle directory, for the message.
        manifest: Its manifest.
        min_release: The lowest release; None accepts any, and a bundle that states none.

    Raises:
        VerificationError: The release is lower, or the bundle states none.
    """
    if min_release is None or (manifest.release is not None and manifest.release >= min_release):
        return
    found = "a bundle without a release" if manifest.release is None else f"release {manifest.release}"
    problem = Problem(kind="release", path=MANIFEST_NAME, expected=f"release {min_release} or a later one", found=found)
    raise VerificationError(str(root), [problem])
