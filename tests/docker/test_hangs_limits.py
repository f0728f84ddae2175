"""Rows 13, 17 and 18: limits of a container that the libraries do not look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.docker.hang_lab import Subject
from tests.docker.hangs import TOLERANCE, control

if TYPE_CHECKING:
    import docker
    from tests.docker.hang_lab import Lab
    from tests.docker.hangs import Controls, Hang
    from tests.docker.ledger import Ledger
    from thoth_models.types import FloatArray

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

LIMIT = 768 * 2**20
MIN_SHARE = 0.9
"""Of the rate of one thread that was tuned by hand, at which ours has to encode under a quota of one core."""


@pytest.mark.alone
def test_quota_of_one_core(
    lab: Lab, controls: Controls, ledger: Ledger, references: FloatArray, engine: docker.DockerClient
) -> None:
    if engine.info()["NCPU"] < 2:
        pytest.skip("row 13: expected a computer with more cores than the quota allows, found one core")
    controls.wait_for_all()
    subject = Subject(
        image="ours",
        command=("tests.docker.subjects.quota", "5"),
        options={"nano_cpus": 10**9},
        computes=True,
        seconds=120,
    )
    found = lab.run(subject, control=False)
    assert found.ready, found.output
    np.testing.assert_allclose(np.array(found.facts["vectors"]), references, rtol=0, atol=TOLERANCE)
    assert found.attempts == {"connections": 0, "datagrams": 0}
    assert found.facts["threads"] == 1
    rates = found.facts["rates"]
    share, of_defaults = rates["ours"] / rates["tuned"], rates["default"] / rates["tuned"]
    ledger.add(
        "13",
        f"quota of one core (texts/s; one thread tuned by hand: {rates['tuned']:.0f})",
        f"{rates['default']:.0f}/s, {of_defaults:.2f} of tuned",
        0,
        "ours: quota",
        f"{rates['ours']:.0f}/s, {share:.2f} of tuned",
        0,
    )
    assert share >= MIN_SHARE, rates
    if of_defaults >= MIN_SHARE:
        pytest.skip(f"row 13: the engine's own defaults reach {of_defaults:.2f} of one tuned thread here")


@pytest.mark.hostile
@pytest.mark.hang(row="17", control=control("shared_memory", computes=True))
def test_small_shared_memory(hang: Hang) -> None:
    for variant, image in (("onnx-fp32", "ours"), ("torch-fp32", "ours-current")):
        found = hang.ours("many", variant, image=image).facts
        assert found["shared"] == []
        assert found["pages_of_children"] == 0  # no pool, also none that does without shared memory
    hang.control(failure="No space left on device|unable to allocate shared memory|Bus error")


@pytest.mark.hostile
@pytest.mark.hang(
    row="18",
    control=control("huge_batch", computes=True, options={"mem_limit": LIMIT, "memswap_limit": LIMIT}, seconds=60),
)
def test_huge_batch_under_a_limit_of_memory(hang: Hang) -> None:
    for variant, image in (("onnx-fp32", "ours"), ("torch-fp32", "ours-current")):
        assert hang.ours("huge_batch", variant, image=image).facts["count"] > 100
    hang.control(failure="out of memory")
