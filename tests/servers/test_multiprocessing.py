"""``multiprocessing`` in each of its ways, begun while threads of the parent encode."""

from __future__ import annotations

import json
import signal
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.servers import documented
from tests.servers.serving import TOLERANCE, Service

if TYPE_CHECKING:
    from tests.servers.driving import Trial

pytestmark = [pytest.mark.servers, pytest.mark.onnx]

BOUND = 30.0
"""Seconds that a child gets; beyond that it hangs."""

CONTROL_BOUND = 6.0
"""Seconds that an unprotected child gets: many times what it takes when nothing is in its way."""

CHILDREN = {"fork": 10, "forkserver": 3, "spawn": 3}


def run(trial: Trial, method: str, subject: str, count: int, seconds: float) -> dict[str, Any]:
    documented.write(trial.surroundings.place, "pools.py")
    path = trial.surroundings.place / "vectors.npz"
    np.savez(path, texts=np.array(trial.golden.texts[:60]), vectors=trial.golden.vectors[:60])
    command = ["-W", "ignore::DeprecationWarning", "-m", "tests.servers.forking", method, subject, str(path)]
    with Service([*command, str(count), str(seconds)], trial.surroundings) as service:
        assert service.process.wait(count * seconds + 60) == 0, service.log()
    result: dict[str, Any] = json.loads(service.log().splitlines()[-1])
    assert result["before"] < TOLERANCE
    return result


@pytest.mark.parametrize("method", CHILDREN)
def test_children_of_a_busy_parent(method: str, trial: Trial) -> None:
    found = run(trial, method, "ours", CHILDREN[method], BOUND)
    children, pooled = found["children"], found["pool"]
    assert [child["code"] for child in children] == [0] * CHILDREN[method], found
    assert all(child["distance"] < TOLERANCE for child in [*children, {"distance": pooled[0]}]), found
    seconds = [child["seconds"] for child in children]
    trial.ledger.add(
        f"multiprocessing {method}, parent busy: {len(children)} of {len(children)} children right; beginning to end "
        f"median {statistics.median(seconds):.2f}, at most {max(seconds):.2f} s"
    )
    assert trial.surroundings.connections()[1] == []


@pytest.mark.torch
def test_control_sentence_transformers_alone(trial: Trial) -> None:
    found = run(trial, "fork", "sentence-transformers", 4, CONTROL_BOUND)
    last = found["children"][-1]
    trial.ledger.add(f"control, sentence-transformers alone, fork of a busy parent: {last}")
    if last["code"] == 0:
        pytest.skip(f"sentence-transformers alone survives a fork of a busy parent now: {found}")
    assert last["code"] in (None, -signal.SIGSEGV, -signal.SIGABRT), found
