"""Standard output and standard error of a command, on which nothing but the command itself controls the terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class PlainStream:
    """A text stream that changes what is written to it.

    Args:
        stream: The stream that it writes to.
        clean: Returns a text as it is written.
    """

    def __init__(self, stream: TextIO, clean: Callable[[str], str]) -> None:
        self._stream = stream
        self._clean = clean

    def write(self, text: str) -> int:
        """Write a text, and return its length."""
        self._stream.write(self._clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is that of the stream
        """Return an attribute of the stream."""
        return getattr(self._stream, name)

    @property
    def rich_proxied_file(self) -> TextIO:
        """The stream itself, for consoles of rich: they write control sequences, and clean texts themselves."""
        return self._stream


@contextlib.contextmanager
def plain_output(clean: Callable[[str], str]) -> Iterator[None]:
    """Have every text that is written to standard output and standard error meanwhile go through ``clean``."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", PlainStream(stream, clean)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
