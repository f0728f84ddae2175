"""Texts in and vectors out, as files and pipes, for the command line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from thoth_models.errors import InvalidInputError
from thoth_models.inputs import expect_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from thoth_models.types import FloatArray

_BLOCK = 1024
"""Maximum number of texts in memory."""


@contextlib.contextmanager
def open_texts(name: str, input_format: str | None) -> Iterator[Iterator[str]]:
    """Open a file of texts and yield them one by one.

    Args:
        name: Path of the file; ``-`` for standard input.
        input_format: ``lines`` for one text per line; ``jsonl`` for one JSON value per line, a string or an object with
            a string under ``text``; None to decide by the extension of ``name``.

    Raises:
        InvalidInputError: A line is not UTF-8, too long, or does not have the format; the message names file and line.
        OSError: The file cannot be opened.
    """
    is_jsonl = input_format == "jsonl" or (input_format is None and name.endswith(".jsonl"))
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
        yield _read(file, "standard input" if name == "-" else name, is_jsonl=is_jsonl)


@contextlib.contextmanager
def given(texts: Iterable[str]) -> Iterator[Iterator[str]]:
    """Yield the texts of ``--text``, as :func:`open_texts` does those of a file."""
    yield (expect_text(f"--text[{index}]", text) for index, text in enumerate(texts))


def _read(file: IO[bytes], name: str, *, is_jsonl: bool) -> Iterator[str]:
    # Lines end only at \n: a text may contain other characters that Python counts as line ends.
    for number, line in enumerate(file, start=1):
        place = f"{name}, line {number}"
        try:
            # A byte order mark at the start belongs to the file, not to its first text.
            encoding = "utf-8-sig" if number == 1 else "utf-8"
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{place}: expected UTF-8, found {error.reason} at byte {error.start}") from error
        yield expect_text(place, _json_text(text, place) if is_jsonl else text)


def _json_text(line: str, place: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{place}: expected one JSON value, found something else ({error})") from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InvalidInputError(f'{place}: expected a string, or an object with a string under "text"')
    return text


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Group texts into lists that are encoded at once, so that memory use does not grow with the input."""
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def write_jsonl(file: IO[bytes], parts: Iterable[FloatArray]) -> int:
    """Write each vector as one JSON object per line, ``{"index": …, "embedding": […]}``; return their number."""
    count = 0
    for vectors in parts:
        for vector in vectors:
            line = memoryview(json.dumps({"index": count, "embedding": vector.tolist()}).encode() + b"\n")
            # With PYTHONUNBUFFERED, standard output may take a part of it, which is then no error.
            while line:
                line = line[file.write(line) :]
            count += 1
    file.flush()
    return count


@contextlib.contextmanager
def replaced_at_end(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary file beside ``path``, and rename it at the end, so that a failure keeps the old file.

    A symlink stays, and the file that it leads to is replaced.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
