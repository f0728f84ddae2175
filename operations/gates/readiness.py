"""Whether a replica is ready, and has the models that were meant."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from gates.request import FAILURES, why
from gates.verdict import BEYOND, WITHIN, Verdict

if TYPE_CHECKING:
    from gates.request import Request

POLL_SECONDS = 0.1


def wait_until_ready(request: Request, within: float, *, space: str, bundle: str) -> Verdict:
    """Ask until the answer is a success, ``within`` seconds at most; then compare what it says.

    An answer in JSON may say more: ``state: failed`` is final, ``degraded`` is the reason why another model stands in,
    ``space`` and ``bundle_digest`` say which vectors come out. These two are compared where the caller expects some.
    """
    started = time.monotonic()
    while True:
        status = 0
        answer: dict[str, Any] = {}
        try:
            status, body = request.answer()
            answer = _object(body)
            found = f"status {status}: {answer.get('state', '')} {answer.get('reason', '')}".rstrip(" :")
        except FAILURES as error:
            found = why(error)
        seconds = time.monotonic() - started
        figures = {"seconds": round(seconds, 2), "answer": answer}
        if 200 <= status < 300:  # noqa: PLR2004 - the range of HTTP's successes
            return _judge(answer, figures, {"space": space, "bundle_digest": bundle})
        if answer.get("state") == "failed":
            return Verdict(BEYOND, f"not ready: {found}", figures)
        if seconds >= within:
            return Verdict(BEYOND, f"not ready within {within:g} s: {found}", figures)
        time.sleep(POLL_SECONDS)


def _judge(answer: dict[str, Any], figures: dict[str, Any], expected: dict[str, str]) -> Verdict:
    for name, value in expected.items():
        if value and answer.get(name) != value:
            return Verdict(BEYOND, f"{name}: expected {value}, found {answer.get(name)}", figures)
    if answer.get("degraded") is not None:
        return Verdict(BEYOND, f"another model stands in: {answer['degraded']}", figures)
    return Verdict(WITHIN, f"ready after {figures['seconds']:.1f} s", figures)


def _object(body: bytes) -> dict[str, Any]:
    """Return the object that the body is; an empty one for anything else, such as a load balancer's own answers."""
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
