"""Verification of the two files that say what a bundle is: the manifest and the checksum list."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit, opened, replace_manifest
from tests.support.findings import problems_of, the_problem
from thoth_models.errors import ManifestError, VerificationError
from thoth_models.verification.verify import open_bundle, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.hostile

MODULES = "mini/source/modules.json"
WEIGHTS = "mini/source/model.safetensors"


def test_one_flipped_bit_in_any_file_is_found_and_named(bundle: Path) -> None:
    paths = [str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file() and path.stat().st_size]
    assert {"manifest.json", "SHA256SUMS", MODULES} < set(paths)
    for path in paths:
        flip_bit(bundle, path, offset=(bundle / path).stat().st_size // 2, bit=2)
        assert path in [place for _, place in problems_of(bundle)], path
        flip_bit(bundle, path, offset=(bundle / path).stat().st_size // 2, bit=2)
    verify(bundle)


def test_a_manifest_that_says_something_else(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    other = data.replace(b'"license":"apache-2.0"', b'"license":"apache-1.0"')
    replace_manifest(bundle, other, adjust_checksums=False)
    with pytest.raises(VerificationError) as caught:
        verify(bundle)
    by_path = {problem.path: problem for problem in caught.value.problems}
    assert sorted(by_path) == ["SHA256SUMS", "manifest.json"]
    assert by_path["manifest.json"].expected == f"sha256 {hashlib.sha256(data).hexdigest()}"
    assert by_path["manifest.json"].found == f"sha256 {hashlib.sha256(other).hexdigest()}"
    with pytest.raises(VerificationError, match="manifest"):
        open_bundle(bundle)


def test_a_manifest_whose_checksum_was_adjusted_is_another_bundle(bundle: Path) -> None:
    before = verify(bundle)
    data = (bundle / "manifest.json").read_bytes()
    replace_manifest(bundle, data.replace(b"apache-2.0", b"apache-1.0"), adjust_checksums=True)
    after = verify(bundle)
    # Consistent in itself; what tells the two apart is the digest, which signatures and deployments pin.
    assert after.bundle_digest != before.bundle_digest
    assert after.set_digest != before.set_digest


def test_a_file_entry_that_was_adjusted_everywhere_but_in_the_file(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    old = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    with opened(bundle):
        checksums = (bundle / "SHA256SUMS").read_text(encoding="utf-8")
        (bundle / "SHA256SUMS").write_text(checksums.replace(old, "0" * 64), encoding="utf-8")
    replace_manifest(bundle, data.replace(old.encode(), b"0" * 64), adjust_checksums=True)
    assert problems_of(bundle) == [("changed", WEIGHTS)]


def test_a_malformed_manifest(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    replace_manifest(bundle, data + b" ", adjust_checksums=False)
    problem = the_problem(bundle)
    assert (problem.kind, problem.path) == ("manifest", "manifest.json")
    assert problem.expected == f"sha256 {hashlib.sha256(data).hexdigest()}"
    assert "expected canonical JSON" in problem.found
    with pytest.raises(ManifestError, match="expected canonical JSON"):
        open_bundle(bundle)
    with opened(bundle):
        (bundle / "SHA256SUMS").unlink()
    assert the_problem(bundle).expected == "a well-formed manifest"
    with opened(bundle):
        (bundle / "SHA256SUMS").write_bytes(b"nothing of the kind\n")
    assert the_problem(bundle).expected == "a well-formed manifest"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\n",
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data.replace(b"  manifest.json", b"  manifest.jsom"),
        lambda data: b"".join(reversed(data.splitlines(keepends=True))),
        lambda data: b"\xff" * 64 + b"  manifest.json\n",
    ],
    ids=["longer", "shorter", "empty", "renamed", "reordered", "not text"],
)
def test_another_checksum_list(bundle: Path, change: Callable[[bytes], bytes]) -> None:
    with opened(bundle):
        (bundle / "SHA256SUMS").write_bytes(change((bundle / "SHA256SUMS").read_bytes()))
    assert ("changed", "SHA256SUMS") in problems_of(bundle)
    with pytest.raises(VerificationError, match="SHA256SUMS"):
        open_bundle(bundle)


def test_a_missing_checksum_list(bundle: Path) -> None:
    with opened(bundle):
        (bundle / "SHA256SUMS").unlink()
    assert problems_of(bundle) == [("missing", "SHA256SUMS")]
    with pytest.raises(VerificationError, match="SHA256SUMS"):
        open_bundle(bundle)


@pytest.mark.parametrize("path", ["manifest.json", "SHA256SUMS"])
def test_an_index_that_is_no_plain_file(bundle: Path, tmp_path: Path, path: str) -> None:
    with opened(bundle):
        (bundle / path).rename(tmp_path / "elsewhere")
        (bundle / path).symlink_to(tmp_path / "elsewhere")
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.found) == ("special", path, "a symlink")
    with opened(bundle):
        (bundle / path).unlink()
        (bundle / path).mkdir()
    assert ("special", path) in problems_of(bundle)


@pytest.mark.parametrize("path", ["manifest.json", "SHA256SUMS"])
def test_an_index_that_is_far_too_large_is_not_read(bundle: Path, path: str) -> None:
    with opened(bundle):
        os.truncate(bundle / path, 64 * 1024 * 1024 + 1)
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.expected) == ("changed", path, "at most 67108864 bytes")
