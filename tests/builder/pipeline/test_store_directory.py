"""The place of the store, and garbage collection by the locks that are given."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.support.projects import Project, contents, is_intact, model_files
from thoth_models_builder.errors import LockError, StoreError
from thoth_models_builder.pipeline import store_directory
from thoth_models_builder.pipeline.store_directory import scratch_for
from thoth_models_builder.storage.store import Store


def test_garbage_is_what_no_lock_names(local: Project) -> None:
    local.build()
    stays = contents(local.store)
    unneeded = model_files("unneeded", size=123)["model.safetensors"]
    store = Store(local.store)
    with store.writer("x", digest=None, size=None) as writer:
        writer.write(unneeded)
        writer.finish()
    collect = {"unused_days": 0.0, "dry_run": False}
    counted = store_directory.gc(local.store, [local.lock_file], unused_days=0.0, dry_run=True)
    assert (counted.files, counted.bytes, counted.is_dry_run) == (1, len(unneeded), True)
    assert len(contents(local.store)) == len(stays) + 1
    assert store_directory.gc(local.store, [local.lock_file], unused_days=1.0, dry_run=False).files == 0
    removed = store_directory.gc(local.store, [local.lock_file], **collect)  # type: ignore[arg-type]
    assert (removed.files, removed.bytes, removed.is_dry_run) == (1, len(unneeded), False)
    assert contents(local.store) == stays
    with pytest.raises(LockError):
        store_directory.gc(local.store, [local.lock_file, local.root / "other.lock"], **collect)  # type: ignore[arg-type]
    assert contents(local.store) == stays
    is_intact(local.output)


def test_garbage_is_not_collected_while_a_build_is_at_work(local: Project) -> None:
    with Store(local.store).in_use(), pytest.raises(StoreError, match="found one in use by a build"):
        store_directory.gc(local.store, [local.lock_file], unused_days=0.0, dry_run=False)


def test_the_store_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store_directory.default_store() == tmp_path / "thoth-models" / "store"
    monkeypatch.setenv("THOTH_STORE", "")
    assert store_directory.default_store() == tmp_path / "thoth-models" / "store"
    monkeypatch.setenv("THOTH_STORE", str(tmp_path / "elsewhere"))
    assert store_directory.default_store() == tmp_path / "elsewhere"


def test_a_confined_job_of_root_is_where_another_user_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(store_directory, "_is_open", lambda _path: False)
    assert scratch_for(store, is_confined=True) == Path(tempfile.gettempdir())
    assert scratch_for(store, is_confined=False) == store.scratch
    monkeypatch.setattr(store_directory, "_is_open", lambda _path: True)
    assert scratch_for(store, is_confined=True) == store.scratch
    monkeypatch.setattr(store_directory, "_is_open", lambda _path: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert scratch_for(store, is_confined=True) == store.scratch


def test_a_private_directory_on_the_way_is_seen(tmp_path: Path) -> None:
    (tmp_path / "private" / "below").mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    assert not store_directory._is_open(tmp_path / "private" / "below")
    assert store_directory._is_open(Path("/usr"))
