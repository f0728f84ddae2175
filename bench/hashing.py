"""How fast a bundle is verified: ``python -m bench.hashing BUNDLE REPETITIONS`` prints rates in bytes per second.

In each repetition, in turn: ``verify`` as anybody would call it, hashlib on the same bytes by one core, and hashlib by
all cores. hashlib is given bytes that are in memory already; ``verify`` has to read its files, from the page cache.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.output import show
from thoth_models import verify
from thoth_models.process.environment import usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = 16 * 1024 * 1024


def _hash(pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        hashlib.sha256(piece).digest()


def measure(bundle: Path, repetitions: int) -> list[dict[str, float]]:
    """Return the rates of each repetition."""
    pieces: list[bytes] = []
    for file in (path for path in sorted(bundle.rglob("*")) if path.is_file()):
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                pieces.append(piece)
    total = sum(map(len, pieces))
    # The largest first in turn, so that each core has the same to do.
    pieces.sort(key=len, reverse=True)
    cores = usable_cores()
    rounds: list[dict[str, float]] = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        verify(bundle)
        verified = time.perf_counter()
        _hash(pieces)
        hashed = time.perf_counter()
        threads = [threading.Thread(target=_hash, args=(pieces[number::cores],)) for number in range(cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = time.perf_counter()
        rounds.append(
            {
                "verify": total / (verified - started),
                "one": total / (hashed - verified),
                "all": total / (ended - hashed),
            }
        )
    return rounds[1:]  # the first one filled the page cache


if __name__ == "__main__":
    show(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
