"""Tells an event of many kilobytes while another thread prints to standard error."""

from __future__ import annotations

import sys
import threading

from tests.docker.subjects.events import tell


def main() -> None:
    """Print both until the event is told."""
    over = threading.Event()

    def print_lines() -> None:
        while not over.is_set():
            sys.stderr.write("a line of a log\n")
            sys.stderr.flush()

    noise = threading.Thread(target=print_lines)
    noise.start()
    # Once: of several, one might stay whole by chance.
    tell("ready", text="x" * 2_000_000)
    over.set()
    noise.join()


if __name__ == "__main__":
    main()
