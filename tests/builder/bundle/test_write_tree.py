from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import flip_bit, opened
from tests.support.projects import Project, contents, model_files, snapshot, write_files
from tests.support.trees import Objects, write
from thoth_models.verification.verify import verify
from thoth_models_builder.bundle import write_tree
from thoth_models_builder.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

# --- what is at the output already ---


def test_nothing_and_an_empty_directory_are_no_previous_bundle(place: Path) -> None:
    assert write_tree.read_previous(place / "bundle") == (None, None)
    assert write_tree.read_previous(place) == (None, None)


@pytest.mark.hostile
@pytest.mark.parametrize("link", [False, True])
def test_a_change_in_place_stays_in_its_bundle_unless_links_are_asked_for(
    objects: Objects, place: Path, *, link: bool
) -> None:
    """Files of the store are shared by all bundles; the store itself hashes them again before it uses them."""
    bundles = [place / "bundle", place / "other"]
    for bundle in bundles:
        write(objects, bundle, link=link)
    name = "mini/source/model.safetensors"
    (bundles[0] / name).chmod(0o644)
    with (bundles[0] / name).open("r+b") as file:
        file.write(b"another")
    others = {(bundles[1] / name).read_bytes(), objects.locate(name).read_bytes()}
    assert others == ({b"another"} if link else {b"weights"})


def test_an_intact_bundle_is_read(objects: Objects, place: Path) -> None:
    write(objects, place / "bundle")
    report, reason = write_tree.read_previous(place / "bundle")
    assert reason is None
    assert report is not None
    assert report.manifest == objects.manifest


def lose_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


def lose_checksums(bundle: Path) -> None:
    (bundle / "SHA256SUMS").unlink()


def spoil_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").chmod(0o644)
    (bundle / "manifest.json").write_bytes(b"[]")


def let_others_write(bundle: Path) -> None:
    (bundle / "mini/a/b/c").chmod(0o666)


@pytest.mark.parametrize("damage", [lose_manifest, lose_checksums, spoil_manifest])
def test_a_damaged_bundle_is_still_one_that_may_be_replaced(
    damage: Callable[[Path], None], objects: Objects, place: Path
) -> None:
    write(objects, place / "bundle")
    with opened(place / "bundle"):
        damage(place / "bundle")
    report, reason = write_tree.read_previous(place / "bundle")
    assert report is None
    assert reason


@pytest.mark.hostile
def test_a_bundle_that_others_may_write_is_not_intact(objects: Objects, place: Path) -> None:
    write(objects, place / "bundle")
    let_others_write(place / "bundle")
    assert "writable" in str(write_tree.read_previous(place / "bundle")[1])


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"notes.txt": b"mine"}, "found another directory"),
        ({"manifest.json": b'{"name": "a web page", "icons": []}'}, "found another directory"),
        ({"SHA256SUMS": b"0" * 64 + b"  disk.iso\n", "disk.iso": b"x"}, "found another directory"),
        ({"manifest.json/x": b"", "SHA256SUMS/x": b""}, "found another directory"),
    ],
)
def test_a_directory_of_something_else_is_never_replaced(files: dict[str, bytes], found: str, place: Path) -> None:
    write_files(place / "bundle", files)
    with pytest.raises(OutputError, match="expected a bundle directory or nothing") as caught:
        write_tree.read_previous(place / "bundle")
    assert found in str(caught.value)
    assert contents(place / "bundle") == files


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["file", "symlink", "dangling symlink"])
def test_a_file_or_symlink_is_never_replaced(kind: str, objects: Objects, place: Path) -> None:
    output = place / "bundle"
    if kind == "file":
        output.write_bytes(b"mine")
    else:
        if kind == "symlink":
            write(objects, place / "elsewhere")
        output.symlink_to(place / "elsewhere")
    with pytest.raises(OutputError, match="found a file or symlink"):
        write_tree.read_previous(output)


def test_an_index_that_cannot_be_read_decides_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(place / "bundle", {"manifest.json": b"{}"})

    def refuse(_path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OutputError, match="expected a readable bundle, found: Permission denied"):
        write_tree.read_previous(place / "bundle")


# --- one build at a time ---


def test_two_builds_at_one_output_exclude_each_other(tmp_path: Path, place: Path) -> None:
    locks = tmp_path / "locks"
    (tmp_path / "link").symlink_to(place)
    with write_tree.claim(place / "bundle", locks):
        for same in (place / "bundle", tmp_path / "link" / "bundle"):
            with (
                pytest.raises(OutputError, match="expected to be its only writer, found another build writing it"),
                write_tree.claim(same, locks),
            ):
                pass
        with write_tree.claim(place / "other", locks):
            pass
    with write_tree.claim(place / "bundle", locks):
        pass
    assert list(place.iterdir()) == []


def test_what_a_killed_build_left_is_removed_and_nothing_else(objects: Objects, tmp_path: Path, place: Path) -> None:
    write(objects, place / ".bundle.abc45_78.building")
    write(objects, place / ".bundle.abc45_78.building.previous.building")
    (place / ".bundle.def45_78.building").mkdir(mode=0o700)
    others = [
        ".bundle-2.abc45_78.building",
        "bundle.abc45_78.building",
        ".bundle.abc45_78",
        ".bundle.x.abc45_78.building",
        ".other.abc45_78.building",
    ]
    for name in others:
        (place / name).mkdir()
    with write_tree.claim(place / "bundle", tmp_path / "locks"):
        assert sorted(path.name for path in place.iterdir()) == sorted(others)


@pytest.mark.hostile
def test_names_that_look_like_patterns_are_taken_literally(tmp_path: Path, place: Path) -> None:
    (place / ".bundle.abc45_78.building").mkdir()
    (place / ".[b]undle.abc45_78.building").mkdir()
    with write_tree.claim(place / "[b]undle", tmp_path / "locks"):
        assert [path.name for path in place.iterdir()] == [".bundle.abc45_78.building"]


def test_the_work_of_a_build_with_another_store_is_left_alone(
    objects: Objects, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        with write_tree.claim(place / "bundle", tmp_path / "locks of another store"):
            pass
        return verify(*arguments, **options)

    monkeypatch.setattr(write_tree, "verify", interrupted)
    write(objects, place / "bundle")
    verify(place / "bundle", strict=True)


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["symlink", "file"])
def test_a_leftover_that_no_build_left_is_not_followed(
    kind: str, objects: Objects, tmp_path: Path, place: Path
) -> None:
    write(objects, place / "precious")
    before = snapshot(place / "precious")
    if kind == "symlink":
        (place / ".bundle.abc45_78.building").symlink_to(place / "precious")
    else:
        (place / ".bundle.abc45_78.building").write_bytes(b"mine")
    # Nor is it in the way: in a directory that others may write to, a name proves nothing.
    with write_tree.claim(place / "bundle", tmp_path / "locks"):
        pass
    assert os.path.lexists(place / ".bundle.abc45_78.building")
    assert snapshot(place / "precious") == before


def test_a_parent_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="cannot be written: "),
        write_tree.claim(tmp_path / "file" / "bundle", tmp_path / "locks"),
    ):
        pass


def test_a_file_system_without_locks_still_takes_a_bundle(
    objects: Objects, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    write(objects, place / "bundle")
    verify(place / "bundle", strict=True)


def test_a_leftover_that_another_build_removes_at_the_same_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "leftover").mkdir()

    def gone(path: Path) -> None:
        path.rmdir()
        raise FileNotFoundError(path)

    monkeypatch.setattr(shutil, "rmtree", gone)
    write_tree._remove_tree(place / "leftover")


# --- through a whole build ---


def test_a_damaged_bundle_is_replaced_by_a_build(project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    project.lock()
    first = project.build()
    flip_bit(project.output, "mini/source/model.safetensors", offset=200)
    second = project.build()
    assert not second.is_unchanged
    assert second.bundle_digest == first.bundle_digest
    assert "mini/source/model.safetensors: changed" in second.notes[0]
    assert project.watcher.notes == [
        f"the bundle at {project.output} is not intact, building it again: "
        + second.notes[0].removeprefix("a bundle that was not intact was replaced: ")
    ]
    verify(project.output, strict=True)


def test_an_output_that_is_something_else_stops_a_build_before_anything_is_fetched(project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    project.lock()
    shutil.rmtree(project.store)
    write_files(project.output, {"thesis.txt": b"mine"})
    with contextlib.suppress(OutputError):
        project.build()
        pytest.fail("the directory was replaced")
    assert contents(project.output) == {"thesis.txt": b"mine"}
    assert not list(project.store.glob("objects/*/*"))


@pytest.mark.hostile
def test_another_project_that_lists_its_manifest_is_not_taken_for_a_bundle(tmp_path: Path) -> None:
    """Releases of other kinds come with a manifest.json and a SHA256SUMS as well."""
    files = {"manifest.json": b'{"name": "x"}', "app.js": b"code", "SHA256SUMS": b"0" * 64 + b"  manifest.json\n"}
    (tmp_path / "release").mkdir()
    for name, data in files.items():
        (tmp_path / "release" / name).write_bytes(data)
    with pytest.raises(OutputError, match="found another directory"):
        write_tree.read_previous(tmp_path / "release")


def test_a_report_that_a_killed_build_had_begun_is_removed(place: Path, tmp_path: Path) -> None:
    begun = place / ".bundle.report.json.0123456789abcdef"
    names = [".other.report.json.0123456789abcdef", "bundle.report.json", ".bundle.report.json.x"]
    others = [place / name for name in names]
    for path in (begun, *others):
        path.write_bytes(b"{}")
    with write_tree.claim(place / "bundle", tmp_path / "locks"):
        assert not begun.exists()
        assert all(path.exists() for path in others)


# --- files of a user's ---


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["notes.txt", "mini/source/notes.txt", "other/notes.txt"])
def test_a_bundle_that_has_other_files_as_well_is_not_replaced(objects: Objects, place: Path, name: str) -> None:
    write(objects, place / "bundle")
    with opened(place / "bundle"):
        (place / "bundle" / name).parent.mkdir(exist_ok=True, parents=True)
        (place / "bundle" / name).write_bytes(b"of a user's")
    with pytest.raises(
        OutputError, match=r"expected only the files of a bundle.*, found others: .*; move them"
    ) as found:
        write_tree.read_previous(place / "bundle")
    assert name.partition("/")[0] in str(found.value)
    assert (place / "bundle" / name).read_bytes() == b"of a user's"
