"""1,200 requests to a server whose workers are replaced meanwhile, and all that has to be true then."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.serving import TOLERANCE, Answers, ask, difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.serving import Surroundings, WebServer
    from thoth_models.bundle.golden import Golden

REQUESTS = 800
CLIENTS = 8
LIMIT, JITTER = 60, 12
"""Requests after which a worker is replaced: at least so many, and so many more by chance."""

REPLACED = 8
"""Workers that have to be replaced meanwhile, at least."""

COLD_START_SECONDS = 2.0
"""From the beginning of a process to its first vector, imports included, with a processor to itself."""


@dataclass
class Ledger:
    """What the tests measured, for the table at the end."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)


@dataclass(frozen=True)
class Trial:
    """What a test of a server has: where it runs, the texts with their right vectors, and where figures go."""

    surroundings: Surroundings
    golden: Golden
    ledger: Ledger

    def drive(self, server: WebServer, workers: int) -> Answers:
        """Ask for the vectors of one or two texts with each request, and compare them.

        Halfway the server is told to replace all workers at once (``HUP``), as an operator does.
        """
        golden = self.golden
        chosen = random.Random(0)  # noqa: S311 - an order, not a secret
        rows = [chosen.sample(range(len(golden.texts)), chosen.choice((1, 1, 2))) for _ in range(REQUESTS)]

        def once(number: int) -> str:
            if number == REQUESTS // 2:
                server.process.send_signal(signal.SIGHUP)
            status, process, body = server.request("/embed", [golden.texts[row] for row in rows[number]])
            assert status == 200, f"{status}: {body[:200]!r}"
            distance = difference(json.loads(body)["vectors"], golden.vectors[rows[number]])
            assert distance < TOLERANCE, f"request {number}: another vector, by {distance}"
            return process

        server.until_ready(workers)
        return ask(REQUESTS, CLIENTS, once)

    def check(self, what: str, answers: Answers, workers: int, log: str) -> None:
        """Check that every request was answered well, that workers were replaced, and how they began."""
        recorded = self.surroundings.recorded()
        in_order = sorted(recorded.values(), key=lambda facts: float(facts["begun"]))
        first, later = in_order[:workers], in_order[workers:]
        watched, tried = self.surroundings.connections()
        self.ledger.add(
            f"{what}: {answers.count} requests in {answers.seconds:.1f} s, {answers.lost.total()} lost, slowest "
            f"{answers.slowest:.2f} s, {len(later)} workers replaced"
        )
        self.ledger.add(f"    {_cold_starts('at once', first)}; {_cold_starts('under load', later)}")
        assert not answers.lost, f"{answers.lost}\n{log[-6000:]}"
        assert len(later) >= REPLACED
        # Those that answered are among those that have begun; the last ones may have come too late.
        assert len(answers.processes) >= REPLACED
        assert {int(process) for process in answers.processes} <= set(recorded)
        # Those that begin while all clients keep the processors busy wait for their turn: what each needs counts.
        # The first begin at once, before any request, and divide the processors among themselves.
        assert all(facts["processor_seconds"] < COLD_START_SECONDS for facts in in_order), in_order
        sharing = max(1.0, len(first) / len(os.sched_getaffinity(0)))
        assert statistics.median(facts["seconds"] for facts in first) < COLD_START_SECONDS * sharing, first
        assert watched >= 1
        assert tried == []


def _cold_starts(what: str, recorded: Sequence[dict[str, Any]]) -> str:
    if not recorded:
        return f"none {what}"
    seconds = [facts["seconds"] for facts in recorded]
    return (
        f"first vector of {len(seconds)} {what}: median {statistics.median(seconds):.2f}, at most {max(seconds):.2f} s"
    )
