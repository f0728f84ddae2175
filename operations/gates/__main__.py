"""The command line: ``python3 -m gates``, in the directory that has ``gates/`` in it."""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from gates.command import judge_command, run_command
from gates.comparison import compare, timed_blocks
from gates.memory import judge_memory, memory_of
from gates.readiness import wait_until_ready
from gates.request import Request
from gates.traffic import MARGIN_SECONDS, MAX_RATE, Traffic, judge_traffic
from gates.verdict import UNMEASURED, UnmeasuredError, Verdict, both

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_EPILOG = """
exit code: 0 within the limit; 1 beyond it, or COMMAND failed; 2 wrong usage; 4 not measured; 130 or 143 ended by a
signal. The last line of the output is the verdict. What COMMAND prints goes to standard error.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one gate, print its figures and its verdict, and return the exit code."""
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        verdict: Verdict = options.gate(options)
    except UnmeasuredError as error:
        verdict = Verdict(UNMEASURED, str(error))
    if options.json:
        print(json.dumps({"exit_code": verdict.code, "verdict": verdict.reason, **verdict.figures}, ensure_ascii=False))
    else:
        for name, figure in verdict.figures.items():
            print(f"{name}: {figure if isinstance(figure, str) else json.dumps(figure, ensure_ascii=False)}")
        print(f"{verdict.word}: {verdict.reason}")
    return verdict.code


def _ready(options: argparse.Namespace) -> Verdict:
    request = Request(options.url, timeout=min(options.timeout, options.within))
    return wait_until_ready(request, options.within, space=options.space or "", bundle=options.bundle or "")


def _within(options: argparse.Namespace) -> Verdict:
    return judge_command(run_command(options.command, options.limit), options.limit)


def _watch(options: argparse.Namespace) -> Verdict:
    request = Request(options.url, options.bodies, options.timeout, options.expect or "")
    traffic = Traffic(request.send, options.rate, options.timeout)
    traffic.start()
    if options.duration is not None:
        time.sleep(options.duration)
        return judge_traffic(traffic.finish(), options.max_failures)
    time.sleep(MARGIN_SECONDS)
    finished = run_command(options.command, options.within)
    time.sleep(MARGIN_SECONDS)
    try:
        judged = judge_traffic(traffic.finish(), options.max_failures)
    except UnmeasuredError as error:
        judged = Verdict(UNMEASURED, str(error))
    return both(judge_command(finished, options.within), judged)


def _compare(options: argparse.Namespace) -> Verdict:
    old, new = (
        Request(url, options.bodies, options.timeout, options.expect or "") for url in (options.old, options.new)
    )
    return compare(timed_blocks(old, new, options.within), options.max_slower)


def _memory(options: argparse.Namespace) -> Verdict:
    old, new = (list(map(memory_of, places)) for places in (options.old, options.new))
    return judge_memory(old, new, options.max_more)


# --- arguments ---


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, and what stands after the first ``--`` as the command."""
    parser, (own, _, command) = _parser(), _partition(list(arguments), "--")
    options = parser.parse_args(own)
    options.command = command
    expects = options.gate is _within or (options.gate is _watch and options.duration is None)
    if expects != bool(command):
        parser.error(f"expected {'a command' if expects else 'no command'} after --, found {command}")
    if options.gate is _watch and not command and not math.isinf(options.within):
        parser.error("expected a command after --, which --within limits, found none")
    if command and shutil.which(command[0]) is None:
        parser.error(f"expected a program after --, found {command[0]!r}")
    return options


def _partition(values: list[str], mark: str) -> tuple[list[str], str, list[str]]:
    at = values.index(mark) if mark in values else len(values)
    return values[:at], mark, values[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gates", description=sys.modules["gates"].__doc__, epilog=_EPILOG)
    gates = parser.add_subparsers(required=True, metavar="GATE")
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--timeout", type=_seconds, default=10.0, metavar="TIME", help="of one request (default: 10s)")
    sending = argparse.ArgumentParser(add_help=False)
    help_ = "send this JSON with POST; @FILE: each line of a file, in turn (default: GET)"
    sending.add_argument("--body", dest="bodies", type=_bodies, default=(), metavar="JSON", help=help_)
    sending.add_argument("--expect", type=_text, metavar="TEXT", help="a right answer has this text in its body")

    def gate(
        name: str, run: object, arguments: str, summary: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        usage = f"gates {name} [OPTION …] {arguments}"
        added = gates.add_parser(name, usage=usage, help=summary, description=summary, epilog=_EPILOG, parents=parents)
        added.add_argument("--json", action="store_true", help="print the figures and the verdict as one object")
        added.set_defaults(gate=run)
        return added

    ready = gate("ready", _ready, "URL", "Wait until a replica is ready, and compare its models.", asking)
    ready.add_argument("url", type=_url, metavar="URL")
    ready.add_argument("--within", type=_seconds, default=60.0, metavar="TIME", help="(default: 60s)")
    ready.add_argument("--space", type=_digest, metavar="SPACE", help="the embedding space that it must have")
    help_ = "the SHA-256 of the bundle's manifest.json, which it must have"
    ready.add_argument("--bundle", type=_digest, metavar="DIGEST", help=help_)

    within = gate("within", _within, "LIMIT -- COMMAND …", "Run a command, and stop it at a limit.")
    within.add_argument("limit", type=_seconds, metavar="LIMIT", help="such as 90s, 5m or 1h")

    watch = gate(
        "watch",
        _watch,
        "URL [--for TIME] [-- COMMAND …]",
        "Send requests at a constant rate, and count failures.",
        asking,
        sending,
    )
    watch.add_argument("url", type=_url, metavar="URL")
    watch.add_argument("--rate", type=_rate, default=20.0, help="requests per second (default: 20)")
    watch.add_argument("--max-failures", type=_share, default=0.0, metavar="SHARE", help="such as 5%% (default: 0)")
    watch.add_argument("--within", type=_seconds, default=math.inf, metavar="TIME", help="the limit of COMMAND")
    watch.add_argument("--for", dest="duration", type=_seconds, metavar="TIME", help="so long; instead of COMMAND")

    slower = gate(
        "compare",
        _compare,
        "OLD_URL NEW_URL",
        "Compare the speed of two releases.",
        asking,
        sending,
    )
    slower.add_argument("old", type=_url, metavar="OLD_URL")
    slower.add_argument("new", type=_url, metavar="NEW_URL")
    slower.add_argument("--max-slower", type=_share, default=0.2, metavar="SHARE", help="(default: 20%%)")
    slower.add_argument("--within", type=_seconds, default=600.0, metavar="TIME", help="measure at most so long (10m)")

    memory = gate("memory", _memory, "--old PLACE … --new PLACE …", "Compare the memory of two releases.")
    for side in ("old", "new"):
        what = "pid:N with its children, container:NAME, compose:SERVICE, or bytes:OWN+FILES"
        memory.add_argument(f"--{side}", type=_place, nargs="+", required=True, metavar="PLACE", help=what)
    memory.add_argument("--max-more", type=_share, default=0.5, metavar="SHARE", help="(default: 50%%)")
    return parser


def _fail(expected: str, text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", text, flags=re.ASCII)
    if found is None or float(found[1]) == 0:
        _fail("a time such as 90s, 5m or 1h", text)
    return float(found[1]) * {"h": 3600, "m": 60}.get(found[2], 1)


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text, flags=re.ASCII)
    if found is None:
        _fail("a share such as 5% or 0.05", text)
    return float(found[1]) / (100 if found[2] else 1)


def _rate(text: str) -> float:
    found = re.fullmatch(r"\d+(?:\.\d+)?", text, flags=re.ASCII)
    if found is None or not 0 < float(text) <= MAX_RATE:
        _fail(f"requests per second, above 0 and at most {MAX_RATE}", text)
    return float(text)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        _fail("an address such as http://127.0.0.1:8020/ready", text)
    return text


def _bodies(text: str) -> tuple[str, ...]:
    if not text.startswith("@"):
        return (text,)
    try:
        lines = tuple(filter(str.strip, Path(text[1:]).read_text(encoding="utf-8").splitlines()))
    except OSError as error:
        _fail(f"a file with a body on each line ({error.strerror})", text)
    return lines or _fail("a file with a body on each line", text)


# An empty value, as of a shell's variable or command that found nothing, would compare nothing.


def _digest(text: str) -> str:
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else _fail("64 hexadecimal digits", text)


def _text(text: str) -> str:
    return text or _fail("a text that a right answer has", text)


def _place(text: str) -> str:
    places = r"pid:[1-9]\d*|(container|compose):\w[\w.-]*|bytes:[1-9]\d*\+\d+"
    if not re.fullmatch(places, text, flags=re.ASCII):
        _fail("pid:N, container:NAME, compose:SERVICE or bytes:OWN+FILES", text)
    return text


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    # As an exception, so that a command that runs is stopped as well.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _terminate)
    sys.exit(main())
