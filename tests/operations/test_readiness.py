from __future__ import annotations

import json
from typing import Any

import pytest

from gates.readiness import wait_until_ready
from gates.request import Request
from gates.verdict import BEYOND, WITHIN, Verdict
from tests.operations.gating import SECONDS, figures, serving

READY = {"ready": True, "state": "ready", "space": "ab", "bundle_digest": "cd", "degraded": None}


def ready(*answers: tuple[int, Any], within: float = SECONDS, space: str = "", bundle: str = "") -> Verdict:
    """Ask a replica that gives these answers, the last of them for ever."""

    def respond(number: int, body: bytes) -> tuple[int, bytes]:
        status, answer = answers[min(number, len(answers) - 1)]
        return status, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    with serving(respond) as url:
        return wait_until_ready(Request(url), within, space=space, bundle=bundle)


def test_it_waits_until_the_replica_is_ready() -> None:
    loading = (503, {"state": "loading", "reason": "the model is being loaded"})
    verdict = ready(loading, loading, (503, b"<html>no server</html>"), (200, READY))
    assert verdict.code == WITHIN
    assert verdict.figures["answer"] == READY


def test_it_waits_no_longer_than_it_may() -> None:
    verdict = ready((503, {"state": "loading", "reason": "the model is being loaded"}), within=0.2)
    assert verdict.code == BEYOND
    assert verdict.reason == "not ready within 0.2 s: status 503: loading the model is being loaded"


def test_a_replica_that_failed_is_not_waited_for() -> None:
    verdict = ready((503, {"state": "failed", "reason": "SpaceMismatchError: …"}))
    assert (verdict.code, verdict.reason) == (BEYOND, "not ready: status 503: failed SpaceMismatchError: …")


def test_a_model_that_stands_in_is_refused() -> None:
    verdict = ready((200, {**READY, "degraded": "mini is absent"}))
    assert (verdict.code, verdict.reason) == (BEYOND, "another model stands in: mini is absent")


@pytest.mark.parametrize(("expected", "code"), [(("ab", "cd"), WITHIN), (("ba", ""), BEYOND), (("ab", "dc"), BEYOND)])
def test_space_and_bundle_are_compared(expected: tuple[str, str], code: int) -> None:
    space, bundle = expected
    assert ready((200, READY), space=space, bundle=bundle).code == code


@pytest.mark.parametrize("answer", [b"yes", b"[1]"])
def test_any_success_will_do_where_nothing_else_is_asked_for(answer: bytes) -> None:
    assert ready((200, answer)).code == WITHIN
    assert ready((200, answer), space="ab").reason == "space: expected ab, found None"


def test_nothing_listens() -> None:
    code, printed = figures("ready", "http://127.0.0.1:9/", "--within", "0.2s")
    assert (code, printed["verdict"]) == (BEYOND, "not ready within 0.2 s: ConnectionRefusedError")
