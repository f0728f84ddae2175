"""The one place that prints."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def show(text: str) -> None:
    """Print a result on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def log_progress(text: str) -> None:
    """Print what is being done on standard error, with the seconds since the start."""
    sys.stderr.write(f"{time.monotonic() - _BEGAN:6.0f} s  {text}\n")
    sys.stderr.flush()
