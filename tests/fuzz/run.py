"""Fuzz one reader: ``python -m tests.fuzz.run READER SECONDS CORPUS``; ``nox -s fuzz`` runs all of them.

Coverage decides which inputs are changed further (libFuzzer, through atheris). An error that is not the reader's own,
ten seconds for one input, or 1 GiB of memory ends the run with an exit code, and leaves the input in
``tests/fuzz/found/READER/``, where the tests read it again.
"""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["thoth_models", "thoth_models_builder"]):
    from tests.fuzz.readers import READERS

FOUND = Path(__file__).parent / "found"


def _escaped(word: str) -> str:
    """Return a word as libFuzzer reads it in a dictionary."""
    return "".join(letter if letter.isalnum() else f"\\x{ord(letter):02x}" for letter in word)


def main(name: str, seconds: int, corpus: Path) -> None:
    """Run libFuzzer, which ends the process."""
    reader = READERS[name]
    found = FOUND / name
    # Messages of libraries would fill the terminal.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")

    def read(data: bytes) -> None:
        with suppress(*reader.errors):
            reader.read(data)

    seeds, words = corpus / "seeds" / name, corpus / f"{name}.words"
    for place in (found, seeds, corpus / name):
        place.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(reader.seeds):
        (seeds / str(number)).write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in reader.words), encoding="ascii")
    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=65536"]
    options += [f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0"]
    options += [f"-dict={words}"] if reader.words else []
    # New inputs are written to the first directory.
    atheris.Setup([sys.argv[0], *options, *map(str, (corpus / name, found, seeds))], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
