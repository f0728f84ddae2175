from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING

import pytest

from thoth_models.bundle import digest as digest_module
from thoth_models.bundle.digest import (
    CHUNK_SIZE,
    CHUNKED_ABOVE,
    ContentDigest,
    ContentHasher,
    Digest,
    hash_file,
    hash_range,
    ranges,
)

if TYPE_CHECKING:
    from pathlib import Path

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 4 bytes above 16, so that a few bytes show what gigabytes would."""
    monkeypatch.setattr(digest_module, "CHUNK_SIZE", 4)
    monkeypatch.setattr(digest_module, "CHUNKED_ABOVE", 16)
    monkeypatch.setattr(digest_module, "READ_SIZE", 3)


def test_digest_of_bytes() -> None:
    digest = Digest.of(b"abc")
    assert digest.hex == str(digest) == ABC
    assert digest.short == ABC[:12]
    assert digest == Digest(ABC)
    assert len({digest, Digest(ABC)}) == 1
    assert sorted([Digest("f" * 64), digest]) == [digest, Digest("f" * 64)]


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "a" * 65, ABC.upper(), f"{ABC}\n", f"sha256:{ABC}"[:64], "g" * 64, "٣" * 64]
)
def test_digest_holds_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="expected a sha256 of 64 lower-case hexadecimal digits"):
        Digest(text)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("size", [0, 1, 4, 15, 16, 17, 19, 20, 21, 40])
@pytest.mark.parametrize("step", [1, 3, 4, 5, 100])
def test_hasher_hashes_whole_and_chunks_whatever_the_pieces(size: int, step: int) -> None:
    data = bytes(range(size))
    hasher = ContentHasher()
    for start in range(0, size, step):
        hasher.update(data[start : start + step])
    chunks = tuple(Digest.of(data[start : start + 4]) for start in range(0, size, 4)) if size > 16 else ()
    assert hasher.finish() == ContentDigest(size=size, sha256=Digest.of(data), chunks=chunks)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("size", [0, 16, 17, 30])
def test_hash_file_agrees_with_the_hasher_and_rewinds_nothing(tmp_path: Path, size: int) -> None:
    data = bytes(range(size))
    path = tmp_path / "file"
    path.write_bytes(data)
    hasher = ContentHasher()
    hasher.update(data)
    with path.open("rb") as file:
        assert hash_file(file) == hasher.finish()
        assert file.tell() == size


@pytest.mark.usefixtures("small_chunks")
def test_a_hasher_that_knows_of_a_small_size_skips_the_chunks() -> None:
    hasher = ContentHasher(expected_size=16)
    hasher.update(bytes(20))
    found = hasher.finish()
    assert (found.size, found.sha256, found.chunks) == (20, Digest.of(bytes(20)), ())


def test_a_file_over_the_limit_has_chunks_of_the_documented_size(tmp_path: Path) -> None:
    size = CHUNKED_ABOVE + 1
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        found = hash_file(file)
    assert (CHUNK_SIZE, CHUNKED_ABOVE) == (16 << 20, 64 << 20)
    assert found.sha256.hex == hashlib.sha256(bytes(size)).hexdigest()
    assert found.chunks == (*[Digest.of(bytes(CHUNK_SIZE))] * 4, Digest.of(b"\0"))


@pytest.mark.usefixtures("small_chunks")
def test_hash_range_leaves_the_position_and_stops_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        descriptor = file.fileno()
        assert hash_range(descriptor, 2, 7) == Digest.of(b"2345678")
        assert hash_range(descriptor, 8, 7) == Digest.of(b"89")
        assert hash_range(descriptor, 0, 0) == Digest.of(b"")
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0


@pytest.mark.usefixtures("small_chunks")
def test_ranges_cover_the_file() -> None:
    data = bytes(range(18))
    hasher = ContentHasher()
    hasher.update(data)
    content = hasher.finish()
    assert [(offset, length) for offset, length, _ in ranges(content)] == [(0, 4), (4, 4), (8, 4), (12, 4), (16, 2)]
    assert all(Digest.of(data[offset : offset + length]) == digest for offset, length, digest in ranges(content))
    whole = ContentDigest(size=3, sha256=Digest.of(b"abc"))
    assert list(ranges(whole)) == [(0, 3, Digest.of(b"abc"))]


def test_hash_file_wants_a_real_file() -> None:
    with pytest.raises(OSError, match="fileno"):
        hash_file(io.BytesIO(b"abc"))
