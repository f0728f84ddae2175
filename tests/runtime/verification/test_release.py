"""The comparison of two numbers. tests/scenarios/hostile/test_releases.py has every way into a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from thoth_models.bundle.manifest import Manifest
from thoth_models.errors import VerificationError
from thoth_models.verification.release import check_release


def check(release: int | None, min_release: int | None) -> None:
    manifest = Manifest(name="ours", default=None, models={}, files={}, release=release)
    check_release(Path("/srv/bundle"), manifest, min_release)


@pytest.mark.parametrize(("release", "min_release"), [(None, None), (1, None), (7, 7), (8, 7)])
def test_a_release_that_is_late_enough(release: int | None, min_release: int | None) -> None:
    check(release, min_release)


@pytest.mark.parametrize(("release", "found"), [(6, "release 6"), (None, "a bundle without a release")])
def test_both_numbers_are_said(release: int | None, found: str) -> None:
    with pytest.raises(VerificationError) as caught:
        check(release, 7)
    (problem,) = caught.value.problems
    assert str(problem) == f"manifest.json: release: expected release 7 or a later one, found {found}"
    assert caught.value.root == "/srv/bundle"
