"""Whether a disk can hold what is about to be written."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from thoth_models_builder.errors import NotEnoughSpaceError
from thoth_models_builder.storage.disk_space import Need, require_space

if TYPE_CHECKING:
    from pathlib import Path


def test_needs_on_one_disk_are_added_up(tmp_path: Path) -> None:
    (found,) = require_space([Need(path=tmp_path / "a", bytes=10), Need(path=tmp_path / "b/c/d", bytes=20)])
    assert found[:2] == (tmp_path / "a", 30)
    assert abs(found[2] - shutil.disk_usage(tmp_path).free) < 2**30


def test_a_disk_that_is_too_full_is_named_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 2999))
    needs = [Need(path=tmp_path / "a", bytes=1000), Need(path=tmp_path / "b", bytes=2000)]
    with pytest.raises(NotEnoughSpaceError, match=rf"^{tmp_path}/a: expected 3,000 bytes free, found 2,999$"):
        require_space(needs)
    assert list(tmp_path.iterdir()) == []
    assert require_space(needs[:1]) == [(tmp_path / "a", 1000, 2999)]


def test_nothing_to_write_needs_no_disk() -> None:
    assert require_space([]) == []
