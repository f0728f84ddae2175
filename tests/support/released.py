"""The released packages that the first users embed through, at the versions of their locks; nothing is installed."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from tools.migration.wheels import Pin, WheelUnreachableError, fetch

if TYPE_CHECKING:
    from pathlib import Path

THOTH_QDRANT = Pin(
    distribution="thoth-qdrant",
    version="0.1.11",
    file="thoth_qdrant-0.1.11-py3-none-any.whl",
    sha256="20265bbf74a5d1ccec5beeed2acbfd68c4c6d604737e888fc1166205b089e9f2",
    size=24780,
)
ITS_CLIENT = Pin(
    distribution="qdrant-client",
    version="1.15.1",
    file="qdrant_client-1.15.1-py3-none-any.whl",
    sha256="2b975099b378382f6ca1cfb43f0d59e541be6e16a5892f282a4b8de7eff5cb63",
    size=337331,
)


def unpacked(pin: Pin, cache: Path, place: Path) -> Path:
    """Return a directory to import a pinned wheel from, which is of Python alone."""
    try:
        wheel = fetch(pin, cache)
    except WheelUnreachableError as error:
        # A run of CI that has tested nothing must not be green.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / pin.file)
    return place / pin.file
