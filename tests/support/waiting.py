"""Waiting for what other threads or processes do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[..., object], seconds: float = 20.0) -> None:
    """Call a condition again and again until it holds; fail if it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"expected it within {seconds:g} s"
        time.sleep(0.002)
