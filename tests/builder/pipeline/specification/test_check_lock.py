from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from thoth_models_builder.errors import LicenceError, LockError, SpecError
from thoth_models_builder.pipeline.specification.check_lock import check_lock

if TYPE_CHECKING:
    from tests.support.projects import Project


def test_a_lock_that_fits_has_no_differences(local: Project) -> None:
    assert check_lock(local.file, local.lock_file) == []


def test_each_difference_is_a_line(local: Project) -> None:
    local.specify({"mini": {"sources": [{"directory": "elsewhere"}]}})
    (line,) = check_lock(local.file, local.lock_file)
    assert line.startswith("mini: sources: expected directory:elsewhere, found directory:model")


def test_a_licence_that_is_not_permitted_is_an_error(local: Project) -> None:
    local.specify({"mini": {"sources": [{"directory": "model"}]}}, licences={"allow": ["MIT"]})
    with pytest.raises(LicenceError, match=r"mini: expected one of `licences.allow` \(MIT\), found apache-2.0"):
        check_lock(local.file, local.lock_file)


def test_neither_file_may_be_missing(local: Project) -> None:
    local.lock_file.unlink()
    with pytest.raises(LockError):
        check_lock(local.file, local.lock_file)
    local.file.unlink()
    with pytest.raises(SpecError):
        check_lock(local.file, local.lock_file)
