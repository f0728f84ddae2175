"""Rows 10 to 12 and 19: fork after use, as by gunicorn and multiprocessing, and threads that share a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.docker.hang_lab import READY_SECONDS
from tests.docker.hangs import TOLERANCE, control

if TYPE_CHECKING:
    from tests.docker.hang_lab import Outcome
    from tests.docker.hangs import Hang

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

PARALLEL = {"TOKENIZERS_PARALLELISM": "true"}


def check_children(hang: Hang, found: Outcome) -> None:
    """Check that all children answered alike, the first as ``ours`` has compared, and the parent after them."""
    assert found.facts["slowest"] <= READY_SECONDS
    assert found.facts["worst"] <= TOLERANCE
    np.testing.assert_allclose(np.array(found.facts["again"]), hang.references, rtol=0, atol=TOLERANCE)


@pytest.mark.hang(row="10", control=control("fork_torch"))
def test_fork_after_torch_has_used_its_threads(hang: Hang) -> None:
    check_children(hang, hang.ours("fork", "torch-fp32", image="ours-current"))
    hang.control()


@pytest.mark.hang(row="10", control=control("gunicorn_preload"))
def test_gunicorn_that_forks_its_workers_after_the_model_was_used(hang: Hang) -> None:
    for variant, image in (("torch-fp32", "ours-current"), ("onnx-fp32", "ours")):
        assert hang.ours("gunicorn_preload", variant, image=image).facts["forked"]
    hang.control()


@pytest.mark.hang(row="11", control=control("fork_tokenizers", environment=PARALLEL))
def test_fork_after_tokenizers_has_used_its_threads(hang: Hang) -> None:
    check_children(hang, hang.ours("fork"))
    check_children(hang, hang.ours("fork", "torch-fp32", image="ours-current"))
    hang.control()


@pytest.mark.hang(row="12", control=control("fork_onnx", computes=True))
def test_fork_while_onnxruntime_is_at_work(hang: Hang) -> None:
    check_children(hang, hang.ours("fork", "onnx-fp32", "20"))
    hang.control()


@pytest.mark.hang(row="19", control=control("threads", "old", computes=True))
def test_one_tokenizer_and_many_threads(hang: Hang) -> None:
    for image in ("ours-old", "ours"):
        assert hang.ours("threads", image=image).facts["worst"] <= TOLERANCE
    hang.control(failure="Already borrowed")
