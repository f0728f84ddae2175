"""What becomes of a variant that cannot be loaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable
from thoth_models import Attempt, BackendError, FallbackWarning, SpaceMismatchError
from thoth_models.bundle.selection import select
from thoth_models.loading.fallback import failed, fallback_reason, log_refusal, make_embedding, warn_fallback
from thoth_models.loading.tasks import Loaded
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.verification.verify import OpenBundle

ATTEMPT = Attempt(model="one", variant="torch-fp32", reason="broken", error="BackendError")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenBundle]:
    root = tmp_path / "bundle"
    models = [invented_model("one"), invented_model("gone", variants=(), alternates=(("one", "accept"),))]
    make_bundle(root, models, default="one")
    yield open_bundle(root)
    make_writable(root)


def loaded() -> Loaded:
    return Loaded(backend=FakeBackend(), golden=None, golden_cosine=None, verify_seconds=1.0, load_seconds=2.0)


def test_an_attempt_is_kept_and_logged(opened: OpenBundle, caplog: pytest.LogCaptureFixture) -> None:
    [candidate] = select(opened.manifest, "one").candidates
    with caplog.at_level(logging.WARNING, logger="thoth_models.events"):
        attempt = failed(candidate, BackendError("broken"))
    assert attempt == ATTEMPT
    assert caplog.messages == ["refusal model=one variant=torch-fp32 error=BackendError reason=broken"]


def test_a_refusal_of_the_default_model(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="thoth_models.events"):
        log_refusal(None, SpaceMismatchError("another"))
    assert caplog.messages == ['refusal requested="the default model" error=SpaceMismatchError reason=another']


def test_an_embedding_says_what_was_tried_before(opened: OpenBundle) -> None:
    [candidate] = select(opened.manifest, "one").candidates
    info = make_embedding(opened, "one", candidate, loaded(), [ATTEMPT], settings=dict).info
    assert (info.fallback, info.attempts, info.verify_seconds, info.load_seconds) == (None, (ATTEMPT,), 1.0, 2.0)


def test_a_stand_in_of_another_space_says_why(opened: OpenBundle) -> None:
    [candidate] = select(opened.manifest, "gone").candidates
    info = make_embedding(opened, "gone", candidate, loaded(), [ATTEMPT], settings=dict).info
    assert info.fallback == fallback_reason("gone", candidate, [ATTEMPT])
    assert candidate.built.space.short in info.fallback
    assert str(ATTEMPT) in info.fallback


def test_the_nearest_caller_outside_is_warned() -> None:
    with pytest.warns(FallbackWarning, match="because") as caught:
        warn_fallback("because")
    assert caught[0].filename == __file__
