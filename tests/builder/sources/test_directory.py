"""A local directory: everything in it, and nothing outside of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.projects import write_files
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import SourceError, SourceUnreachableError, WrongContentError
from thoth_models_builder.sources.directory import DirectoryTree
from thoth_models_builder.sources.source import RemoteFile

if TYPE_CHECKING:
    from thoth_models_builder.storage.store import Store

FILES = {"config.json": b"{}", "1_Pooling/config.json": b"[]", "README.md": b"---\nlicense: mit\n---\n"}


@pytest.fixture
def tree(tmp_path: Path) -> DirectoryTree:
    return DirectoryTree(write_files(tmp_path / "model", FILES), "directory:model")


def fetch(tree: DirectoryTree, store: Store, *files: RemoteFile) -> dict[str, SourceError]:
    failures = tree.fetch(files, lambda file: store.writer(file.path, digest=file.sha256, size=file.size))
    return {failure.file.path: failure.error for failure in failures}


def remote(path: str, data: bytes) -> RemoteFile:
    return RemoteFile(path=path, size=len(data), sha256=Digest.of(data))


def test_a_directory_is_listed_and_read(tree: DirectoryTree, store: Store) -> None:
    listing = tree.list_files()
    assert (listing.revision, listing.license) == (None, "mit")
    assert listing.files == tuple(RemoteFile(path=path, size=len(FILES[path])) for path in sorted(FILES))
    assert fetch(tree, store, *(remote(path, data) for path, data in FILES.items())) == {}
    assert all(store.find(Digest.of(data), len(data)) for data in FILES.values())


def test_other_has_the_name_and_the_link_beside_it(tree: DirectoryTree) -> None:
    card = "---\nlicense: other\nlicense_name: acme\nlicense_link: LICENSE.md\n---\n"
    (tree.path / "README.md").write_text(card, encoding="utf-8")
    assert (tree.list_files().license, tree.list_files().license_link) == ("other (acme)", "LICENSE.md")


def test_a_directory_without_a_card_states_no_licence(tree: DirectoryTree) -> None:
    (tree.path / "README.md").unlink()
    assert tree.list_files().license is None


@pytest.mark.hostile
def test_a_card_is_read_up_to_a_bound(tree: DirectoryTree) -> None:
    with (tree.path / "README.md").open("wb") as card:
        card.write(b"---\nlicense: mit\n")
        card.seek(10**11)  # a hole: nobody has the memory to read this
        card.write(b"\n---\n")
    assert tree.list_files().license is None


def test_a_symlink_that_stays_inside_is_followed(tree: DirectoryTree, store: Store) -> None:
    (tree.path / "link.json").symlink_to("1_Pooling/../config.json")
    assert RemoteFile(path="link.json", size=2) in tree.list_files().files
    assert fetch(tree, store, remote("link.json", b"{}")) == {}


@pytest.mark.hostile
@pytest.mark.parametrize("inside", ["secret", "1_Pooling"])
def test_a_symlink_that_leads_out_is_refused(tree: DirectoryTree, store: Store, tmp_path: Path, inside: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_bytes(b"secret")
    target = tmp_path / "outside" / ("config.json" if inside == "secret" else "")
    path = "secret" if inside == "secret" else "linked"
    (tree.path / path).symlink_to(target)
    reason = f"expected a file inside {tree.path}, found a symlink that leads out of it"
    with pytest.raises(SourceError, match=f"^{path}: {reason}$"):
        tree.list_files()
    name = path if inside == "secret" else "linked/config.json"
    assert str(fetch(tree, store, remote(name, b"secret"))[name]) == f"{name}: {reason}"
    assert store.find(Digest.of(b"secret"), 6) is None


def test_a_directory_may_itself_be_reached_through_a_symlink(tree: DirectoryTree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("model")
    assert len(DirectoryTree(tmp_path / "link", "directory:link").list_files().files) == 3


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["pipe", "dangling", "loop", "directory"])
def test_anything_but_a_file_is_refused_and_not_waited_for(tree: DirectoryTree, store: Store, kind: str) -> None:
    path = tree.path / "odd"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to("odd")
        case _:
            path.symlink_to("1_Pooling")
    message = "odd: expected a (regular file, found something else|file, found none)"
    with pytest.raises(SourceError, match=f"^{message}$"):
        tree.list_files()
    assert str(fetch(tree, store, remote("odd", b""))["odd"]).startswith("odd: expected a ")


@pytest.mark.hostile
@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a//b", "", "1_Pooling/../../secret", "a\\b", "a\0b"])
def test_a_name_that_is_not_safe_is_refused(tree: DirectoryTree, store: Store, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    assert list(fetch(tree, store, remote(path, b"secret"))) == [path]
    assert store.find(Digest.of(b"secret"), 6) is None


@pytest.mark.hostile
def test_a_directory_with_a_name_that_is_not_safe_is_refused(tree: DirectoryTree) -> None:
    (tree.path / "a\\b").write_bytes(b"")
    with pytest.raises(SourceError, match="expected a "):
        tree.list_files()


def test_a_directory_that_is_not_there_is_out_of_reach(tmp_path: Path, store: Store) -> None:
    tree = DirectoryTree(tmp_path / "nowhere", "directory:nowhere")
    with pytest.raises(SourceUnreachableError, match=f"^expected a directory at {tmp_path}/nowhere, found none$"):
        tree.list_files()
    assert isinstance(fetch(tree, store, remote("config.json", b"{}"))["config.json"], SourceUnreachableError)
    tree.path.write_bytes(b"")
    with pytest.raises(SourceUnreachableError, match=r"found a file$"):
        tree.list_files()


def test_a_missing_or_changed_file_does_not_keep_the_others(tree: DirectoryTree, store: Store) -> None:
    failed = fetch(tree, store, remote("none.txt", b"x"), remote("config.json", b"[]"), remote("README.md", b"?" * 22))
    assert str(failed["none.txt"]) == "none.txt: expected a file, found none"
    assert isinstance(failed["config.json"], WrongContentError)
    assert str(failed["README.md"]) == "README.md: expected 22 bytes, found 21"
    assert fetch(tree, store, remote("1_Pooling/config.json", b"[]")) == {}


def test_what_an_earlier_attempt_left_is_not_continued(tree: DirectoryTree, store: Store) -> None:
    file = remote("README.md", FILES["README.md"])
    with store.writer(file.path, digest=file.sha256, size=file.size) as writer:
        writer.write(b"nonsense")
    assert fetch(tree, store, file) == {}


@pytest.mark.parametrize(("what", "method"), [("config.json", "open"), ("README.md", "open"), ("1_Pooling", "iterdir")])
def test_what_may_not_be_read_is_an_error(
    tree: DirectoryTree, store: Store, monkeypatch: pytest.MonkeyPatch, what: str, method: str
) -> None:
    # The superuser may read all, so the refusal is played.
    real = getattr(Path, method)

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == what and path.parent == tree.path:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, method, refuse)
    if what == "config.json":
        message = str(fetch(tree, store, remote(what, b"{}"))[what])
    else:
        with pytest.raises(SourceError) as caught:
            tree.list_files()
        message = str(caught.value)
    assert message.endswith(
        (f"{what}: expected a readable file, found Permission denied", "directory, found Permission denied")
    )


def test_the_beginning_of_a_file_is_read(tree: DirectoryTree, tmp_path: Path) -> None:
    card = RemoteFile(path="README.md")
    assert tree.read_beginning(card, 3) == b"---"
    assert tree.read_beginning(card, 1000) == FILES["README.md"]
    (tmp_path / "outside").write_bytes(b"secret")
    (tree.path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match="a symlink that leads out of it"):
        tree.read_beginning(RemoteFile(path="link"), 3)
    with pytest.raises(SourceError, match="missing: expected a file, found none"):
        tree.read_beginning(RemoteFile(path="missing"), 3)
