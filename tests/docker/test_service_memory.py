"""Containers of one image share the pages of its layers, so a further copy of a service costs little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.containers import COUNT, measure_sharing
from bench.processes import SubjectError
from tests.docker.service_support import MODEL, SHAPE, shared_images

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

MAX_RATIO = 0.45
"""Of what as many containers would take that share nothing."""


def test_four_containers_share_the_weights_of_their_model(tell: Callable[[str], None]) -> None:
    found = measure_sharing(shared_images().models(SHAPE), SHAPE)
    tell(
        f"one container {found.alone / 1e6:.0f} MB, {COUNT} of them {found.together / 1e6:.0f} MB: "
        f"{found.ratio:.2f} of {COUNT} that share nothing (bound {MAX_RATIO:g})",
    )
    assert found.alone > 300_000_000  # the weights are there, and counted
    assert found.ratio <= MAX_RATIO


def test_a_container_that_cannot_hold_the_model_is_told() -> None:
    with pytest.raises(SubjectError, match="onnx-int9"):
        measure_sharing(shared_images().models(MODEL), MODEL, "onnx-int9")
