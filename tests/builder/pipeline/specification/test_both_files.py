"""Both files are replaced, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from thoth_models_builder.errors import OutputError
from thoth_models_builder.pipeline.specification import both_files
from thoth_models_builder.pipeline.specification.both_files import replace_both

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("is_new", [False, True])
def test_after_a_failure_both_are_as_before(
    files: tuple[Path, Path], *, error: BaseException, is_new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lock = files
    if is_new:
        file.unlink()
    write = both_files._write

    def fail_for_the_lock(path: Path, data: bytes) -> None:
        if path == lock:
            assert file.read_bytes() == b"new"
            raise error
        write(path, data)

    monkeypatch.setattr(both_files, "_write", fail_for_the_lock)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        replace_both(file, lock, (None if is_new else b"spec", b"lock"), (b"new", b"new lock"))
    assert lock.read_bytes() == b"lock"
    assert not file.exists() if is_new else file.read_bytes() == b"spec"
