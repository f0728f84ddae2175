"""Rows 8, 9 and 14: the Hub's cache, and what is in the files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.docker.hangs import TOLERANCE, control
from tests.docker.subjects import neighbour

if TYPE_CHECKING:
    from tests.docker.hangs import Hang
    from thoth_models.types import FloatArray

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

AWAY = {"HF_HOME": "/cache"}
"""A cache that is not in /tmp."""


@pytest.mark.hostile
@pytest.mark.hang(row="8", control=control("held_lock", port=neighbour.HUB))
def test_lock_in_the_cache_that_another_process_holds(hang: Hang) -> None:
    hang.ours("held_lock")
    hang.ours("held_lock", "torch-fp32", image="ours-current")
    hang.control(attempts=True)


@pytest.mark.hostile
@pytest.mark.hang(
    row="9", control=control("hub_file", port=neighbour.HUB, environment=AWAY, options={"read_only": True})
)
def test_read_only_root(hang: Hang) -> None:
    hang.ours()
    # torch cannot be imported where there is no temporary directory at all.
    beside_torch = replace(hang, subject=replace(hang.subject, tmpfs=("/tmp",)))  # noqa: S108 - of a container
    beside_torch.ours(variant="torch-fp32", image="ours-current")
    hang.control(failure="Read-only file system", attempts=True)


@pytest.mark.hang(row="14", control=control("half_precision", computes=True, seconds=60))
def test_checkpoint_in_half_precision(hang: Hang, half_references: FloatArray) -> None:
    # Computed as it is stored, which is up to a hundred times slower, and says so nowhere. How much slower depends on
    # the processor; that the numbers are others does not.
    replace(hang, references=half_references).ours("half_precision", "torch-fp32", image="ours-current")
    outcome = hang.controls.outcome(hang.subject)
    assert outcome.ready, outcome.output
    off = float(np.abs(np.array(outcome.facts["vectors"]) - half_references).max())
    hang.write(
        f"computes in {outcome.facts['dtypes']}, off by {off:.4f}; mini: {outcome.facts['slower']:.1f} x the time"
    )
    if outcome.facts["dtypes"] == ["torch.float32"]:
        pytest.skip(f"row 14: the library computes in single precision by itself; {outcome}")
    assert outcome.facts["dtypes"] == ["torch.bfloat16"]
    assert off > 10 * TOLERANCE
