"""Containers of one image share the pages of its layers, so a further copy of a service costs little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.containers import COUNT, measure_sharing
from bench.processes import SubjectError
from tests.docker.service_support import MODEL, shared_images

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]


def test_four_containers_share_the_weights_of_their_model(tell: Callable[[str], None]) -> None:
    """The benchmarks measure how much that is for a model of 471 MB."""
    images = shared_images()
    weights = (images.bundle / MODEL / "onnx-fp32" / "model.onnx.data").stat().st_size
    found = measure_sharing(images.models(), MODEL)
    more = (found.together - found.alone) / (COUNT - 1)
    tell(
        f"one container {found.alone / 1e6:.0f} MB, of which weights {weights / 1e6:.0f} MB; each of {COUNT - 1} more "
        f"takes {more / 1e6:.0f} MB"
    )
    assert found.alone > weights > 80_000_000  # they are there, and counted
    assert more < found.alone - 0.9 * weights


def test_a_container_that_cannot_hold_the_model_is_told() -> None:
    with pytest.raises(SubjectError, match="onnx-int9"):
        measure_sharing(shared_images().models(), MODEL, "onnx-int9")
