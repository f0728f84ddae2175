"""Rows 8, 9 and 14: the Hub's cache, and what is in the files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.docker.hangs import control
from tests.docker.subjects import neighbour

if TYPE_CHECKING:
    from tests.docker.hangs import Hang
    from thoth_models.embedding import FloatArray

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]


@pytest.mark.hang(row="8", control=control("held_lock", port=neighbour.HUB))
def test_lock_in_the_cache_that_another_process_holds(hang: Hang) -> None:
    hang.ours("held_lock")
    hang.ours("held_lock", "torch-fp32", image="ours-current")
    hang.control(attempts=True)


@pytest.mark.hang(row="9", control=control("hub_file", port=neighbour.HUB, options={"read_only": True}))
def test_read_only_root(hang: Hang) -> None:
    hang.ours()
    hang.ours(variant="torch-fp32", image="ours-current")
    hang.control(failure="Read-only file system", attempts=True)


@pytest.mark.hang(row="14", control=control("half_precision"))
def test_checkpoint_in_half_precision(hang: Hang, half_references: FloatArray) -> None:
    replace(hang, references=half_references).ours("half_precision", "torch-fp32", image="ours-current")
    hang.control()
