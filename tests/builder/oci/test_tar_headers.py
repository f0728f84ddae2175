"""The headers of archives, compared with what tarfile reads in them and, where that can say the same, writes."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thoth_models_builder.oci import tar_headers as tar

EIGHT_GIB = 8 * 1024**3

parts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=60)
paths = st.lists(parts, min_size=1, max_size=6).map("/".join)
sizes = st.one_of(st.none(), st.integers(0, 2**50), st.sampled_from([0, 1, 511, 512, 513, EIGHT_GIB - 1, EIGHT_GIB]))
entries = st.builds(tar.Entry, path=paths, size=sizes, mode=st.sampled_from([0o444, 0o555, 0o755]))
times = st.integers(0, tar.LATEST_TIME)


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + tar.END), mode="r:", errorlevel=2) as file:
        member = file.next()
        assert member is not None
        return member


@given(entry=entries, mtime=times)
def test_what_is_written_is_what_others_read(entry: tar.Entry, mtime: int) -> None:
    head = tar.header(entry, mtime)
    assert len(head) % 512 == 0
    member = read(head)
    assert member.name == entry.path.rstrip("/") or entry.path.endswith("/")
    assert (member.isdir(), member.isfile()) == (entry.size is None, entry.size is not None)
    assert (member.size, member.mode, member.mtime) == (entry.size or 0, entry.mode, mtime)
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert (member.linkname, member.devmajor, member.devminor) == ("", 0, 0)


@given(entry=entries, mtime=times)
def test_the_length_is_known_without_the_bytes(entry: tar.Entry, mtime: int) -> None:
    size = entry.size or 0
    assert entry.packed_size == len(tar.header(entry, mtime)) + size + len(tar.padding(size))
    assert entry.packed_size % 512 == 0


@given(contents=st.lists(st.tuples(parts, st.binary(max_size=2000)), max_size=8, unique_by=lambda pair: pair[0]))
def test_whole_archives(contents: list[tuple[str, bytes]]) -> None:
    archive, written = b"", []
    for path, content in contents:
        entry = tar.Entry(path=path, size=len(content), mode=0o444)
        archive += tar.header(entry, 7) + content + tar.padding(len(content))
        written.append(entry)
    archive += tar.END
    assert len(archive) == tar.archive_size(written)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as file:
        found = []
        for member in file:
            opened = file.extractfile(member)
            assert opened is not None
            found.append((member.name, opened.read()))
    assert found == contents


@pytest.mark.parametrize("path", ["a", "x" * 100, "d/" + "x" * 98])
def test_short_paths_need_no_extended_header(path: str) -> None:
    entry = tar.Entry(path=path, size=3, mode=0o444)
    head = tar.header(entry, 0)
    assert len(head) == 512
    other = tarfile.TarInfo(path)
    other.size, other.mode = 3, 0o444
    # Byte for byte what tarfile writes, but for the devices, which versions of it write differently.
    theirs = other.tobuf(tarfile.USTAR_FORMAT)
    assert (head[:148], head[157:329], head[345:]) == (theirs[:148], theirs[157:329], theirs[345:])


@pytest.mark.parametrize(
    ("entry", "records"),
    [
        (tar.Entry(path="x" * 101, size=0, mode=0o444), b"111 path=" + b"x" * 101 + b"\n"),
        (tar.Entry(path="x" * 100, size=None, mode=0o555), b"111 path=" + b"x" * 100 + b"/\n"),
        (tar.Entry(path="ä", size=0, mode=0o444), b"11 path=\xc3\xa4\n"),
        (tar.Entry(path="a", size=EIGHT_GIB, mode=0o444), b"19 size=8589934592\n"),
    ],
)
def test_what_does_not_fit_goes_before(entry: tar.Entry, records: bytes) -> None:
    head = tar.header(entry, 0)
    assert head[512 : 512 + len(records) + 1] == records + b"\0"
    assert len(head) == 3 * 512
    assert head[:14] == b"././@PaxHeader"


def test_a_record_counts_its_own_digits() -> None:
    for length in range(1, 1200):
        entry = tar.Entry(path="ö" + "x" * length, size=0, mode=0o444)
        assert read(tar.header(entry, 0)).name == entry.path
