"""The sequence: wheels, releases, page."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.migration.report import render
from tools.migration.surface import read_release
from tools.migration.wheels import PINS, fetch, read_pins, read_texts

PAGE = Path(__file__).parents[2] / "docs" / "migration" / "thoth-vdbmanager.md"


def audit(cache: Path, pins: Path = PINS) -> str:
    """Return the page for the pinned wheels, which are downloaded to ``cache`` unless they are there.

    Raises:
        WheelError: A wheel cannot be downloaded, does not match its pin, or cannot be read.
    """
    pinned = read_pins(pins)
    texts = [read_texts(fetch(pin, cache)) for pin in pinned]
    standard = frozenset(sys.stdlib_module_names)
    releases = [read_release(pin.version, found, standard) for pin, found in zip(pinned, texts, strict=True)]
    return render(releases, pinned)
