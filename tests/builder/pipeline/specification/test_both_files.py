"""Both files are replaced, or neither."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.support.full_disk import LONG, little_space
from thoth_models_builder.errors import OutputError
from thoth_models_builder.pipeline.specification.both_files import replace_both


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    file, lock = tmp_path / "models.yaml", tmp_path / "models.lock"
    file.write_bytes(b"spec")
    lock.write_bytes(b"lock")
    return file, lock


def test_both_are_replaced_and_keep_their_mode(files: tuple[Path, Path]) -> None:
    file, lock = files
    file.chmod(0o640)
    replace_both(file, lock, (b"spec", b"lock"), (b"new spec", b"new lock"))
    assert (file.read_bytes(), lock.read_bytes()) == (b"new spec", b"new lock")
    assert file.stat().st_mode & 0o777 == 0o640
    assert {path.name for path in file.parent.iterdir()} == {"models.yaml", "models.lock"}


def test_a_symlink_stays_one(files: tuple[Path, Path], tmp_path: Path) -> None:
    file, lock = files
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    replace_both(link, lock, (b"spec", b"lock"), (b"new", None))
    assert link.is_symlink()
    assert (file.read_bytes(), lock.read_bytes()) == (b"new", b"lock")


@pytest.mark.parametrize("changed", [0, 1])
def test_what_another_process_changed_is_not_overwritten(files: tuple[Path, Path], changed: int) -> None:
    files[changed].write_bytes(b"edited")
    with pytest.raises(OutputError, match=f"{files[changed].name}: expected the file as it was read"):
        replace_both(*files, (b"spec", b"lock"), (b"new", b"new"))
    assert files[1 - changed].read_bytes() == (b"lock", b"spec")[changed]
    assert files[changed].read_bytes() == b"edited"


@pytest.mark.parametrize("too_long", [0, 1])
def test_a_disk_that_takes_a_part_of_one_changes_neither(files: tuple[Path, Path], too_long: int) -> None:
    new = [b"new", b"new"]
    new[too_long] = LONG
    with pytest.raises(OutputError, match="File too large; neither was changed"), little_space():
        replace_both(*files, (b"spec", b"lock"), (new[0], new[1]))
    assert [path.read_bytes() for path in files] == [b"spec", b"lock"]
    assert set(files[0].parent.iterdir()) == set(files)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("is_new", [False, True])
def test_after_a_failure_both_are_as_before(
    files: tuple[Path, Path], *, error: BaseException, is_new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lock = files
    if is_new:
        file.unlink()
    replace = Path.replace

    def fail_for_the_lock(source: Path, target: Path) -> None:
        if target == lock:
            assert file.read_bytes() == b"new"
            space.enter_context(little_space(0))  # nothing can be written from here on
            raise error
        replace(source, target)

    monkeypatch.setattr(Path, "replace", fail_for_the_lock)
    kind = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with contextlib.ExitStack() as space, pytest.raises(kind):
        replace_both(file, lock, (None if is_new else b"spec", b"lock"), (b"new", b"new lock"))
    assert lock.read_bytes() == b"lock"
    assert not file.exists() if is_new else file.read_bytes() == b"spec"
    assert set(lock.parent.iterdir()) == {lock} | (set() if is_new else {file})


def test_an_interrupt_after_both_leaves_both_new(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def interrupted(source: Path, target: Path) -> None:
        replace(source, target)
        if target == files[1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_both(*files, (b"spec", b"lock"), (b"new spec", b"new lock"))
    assert [path.read_bytes() for path in files] == [b"new spec", b"new lock"]


def test_what_cannot_be_put_back_is_named(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def only_once(source: Path, target: Path) -> None:
        if target == files[1] or files[0].read_bytes() == b"new":
            raise OSError(30, "Read-only file system")
        replace(source, target)

    monkeypatch.setattr(Path, "replace", only_once)
    with pytest.raises(
        OutputError, match=r"expected its old content again after .*; it was changed, and its lock was not"
    ):
        replace_both(*files, (b"spec", b"lock"), (b"new", b"new lock"))
    assert [path.read_bytes() for path in files] == [b"new", b"lock"]
