"""Who may have written the records of a store: what every user may write is not used, and another owner is named."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from thoth_models.bundle.digest import Digest
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = Digest.of(b"key")
PLACES = {"store": "", "records": "records", "record": f"records/{KEY}"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    before = os.umask(0o022)
    made = Store(tmp_path / "store")
    made.prepare()
    made.write_record(KEY, b"record")
    os.umask(before)
    return made


@pytest.mark.hostile
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_a_record_that_every_user_may_write_is_not_used(
    store: Store, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.root / place
    path.chmod(path.stat().st_mode | 0o002)
    assert store.read_record(KEY) is None
    assert store.read_record(KEY) is None
    (said,) = caplog.messages
    assert said.startswith(f"{path}: expected a place that not every user may write, found mode 0")
    assert said.endswith("earlier compilations in the store are not used")
    path.chmod(path.stat().st_mode & ~0o002)
    assert store.read_record(KEY) == b"record"


@pytest.mark.parametrize("place", ["", "records"])
@pytest.mark.parametrize("mode", [0o775, 0o1777])
def test_a_group_and_a_directory_like_tmp_may_write(
    store: Store, place: str, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    (store.root / place).chmod(mode)
    assert store.read_record(KEY) == b"record"
    assert not caplog.messages


@pytest.mark.hostile
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to other users")
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_another_owner_of_a_record_is_named(store: Store, place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not refused: caches of CI systems are restored with the owners that they were saved with."""
    os.chown(store.root / place, 1234, -1)
    with caplog.at_level(logging.WARNING):
        assert store.read_record(KEY) == b"record"
    said = f"{store.root / place}: expected this user or root as its owner, found the user with id 1234; "
    assert caplog.messages == [f"{said}earlier compilations in the store are used"]


def test_a_store_behind_a_link_is_that_of_its_target(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    assert Store(tmp_path / "link").read_record(KEY) == b"record"


def test_without_a_record_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Store(tmp_path / "none").read_record(KEY) is None
    assert not caplog.messages
