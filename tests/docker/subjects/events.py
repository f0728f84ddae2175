"""What a subject tells the test that runs it: one line of JSON for each event, among whatever else it prints."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

MARK = "@event "

HOME_SECONDS = 15.0
"""How long to wait for calls home; onnxruntime 1.32 makes the first after 9 s."""


def tell(event: str, **facts: object) -> None:
    """Print an event: ``go`` before what may hang, ``vectors`` with the first ones, ``ready`` at the end of it all."""
    sys.stdout.write(f"\n{MARK}{json.dumps({'event': event, 'at': time.time(), **facts})}\n")
    sys.stdout.flush()


def texts() -> list[str]:
    """Return the texts that the test wants the vectors of."""
    found: list[str] = json.loads(os.environ["SUBJECT_TEXTS"])
    return found


def long_texts() -> list[str]:
    """Return as many texts of the greatest length as take far more memory at once than one after the other."""
    return [" ".join(text.split() * 400)[:2000] for text in texts() if text] * 25


def attempts() -> dict[str, int]:
    """Return what this network namespace tried so far; see :func:`count_attempts`."""
    return count_attempts(Path("/proc/net/snmp").read_text(encoding="ascii"))


def count_attempts(snmp: str) -> dict[str, int]:
    """Return how many connections a network namespace tried to open and how many datagrams it sent, by the kernel."""
    rows = [line.split() for line in snmp.splitlines()]
    counts = {
        (names[0], name): int(value)
        for names, values in zip(rows[::2], rows[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }
    return {"connections": counts["Tcp:", "ActiveOpens"], "datagrams": counts["Udp:", "OutDatagrams"]}


def settle_in() -> None:
    """Make the surroundings those of the row that is tested, where options of the container cannot."""
    if server := os.environ.get("SUBJECT_NAMESERVER"):
        Path("/etc/resolv.conf").write_text(f"nameserver {server}\n", encoding="ascii")
