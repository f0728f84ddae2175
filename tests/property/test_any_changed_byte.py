"""Whatever single thing is done to a bundle, verification fails and names the place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models.errors import BundleError, BundleNotFoundError
from thoth_models.verification.verify import open_bundle, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.hostile

FILES = (
    "SHA256SUMS",
    "manifest.json",
    "mini/source/1_Pooling/config.json",
    "mini/source/empty.txt",
    "mini/source/model.safetensors",
    "mini/source/modules.json",
)
DIRECTORIES = ("", "mini", "mini/source", "mini/source/1_Pooling")
# The bundle is shared by all examples: each puts back what it did.
shared = settings(max_examples=150)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("property") / "bundle"
    make_bundle(root, [invented_model("mini", prompts={"query": "q: "})], default="mini")
    make_writable(root)
    yield root
    verify(root)


def expect_refusal(root: Path, path: str) -> None:
    with pytest.raises(BundleError) as caught:
        verify(root)
    assert path in str(caught.value)
    if path in ("manifest.json", "SHA256SUMS"):
        with pytest.raises(BundleError, match=path):
            open_bundle(root)


@shared
@given(path=st.sampled_from(FILES), position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte(root: Path, path: str, position: int, value: int) -> None:
    data = (root / path).read_bytes()
    if not data or data[position % len(data)] == value:
        return
    changed = bytearray(data)
    changed[position % len(data)] = value
    (root / path).write_bytes(changed)
    try:
        expect_refusal(root, path)
    finally:
        (root / path).write_bytes(data)


@shared
@given(path=st.sampled_from(FILES), position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_an_added_byte(root: Path, path: str, position: int, value: int) -> None:
    data = (root / path).read_bytes()
    place = position % (len(data) + 1)
    (root / path).write_bytes(data[:place] + bytes([value]) + data[place:])
    try:
        expect_refusal(root, path)
    finally:
        (root / path).write_bytes(data)


@shared
@given(path=st.sampled_from(FILES), position=st.integers(0, 10**6))
def test_a_removed_byte(root: Path, path: str, position: int) -> None:
    data = (root / path).read_bytes()
    if not data:
        return
    place = position % len(data)
    (root / path).write_bytes(data[:place] + data[place + 1 :])
    try:
        expect_refusal(root, path)
    finally:
        (root / path).write_bytes(data)


@pytest.mark.parametrize("path", FILES)
def test_a_removed_file(root: Path, path: str) -> None:
    data = (root / path).read_bytes()
    (root / path).unlink()
    try:
        expect_refusal(root, path)
        if path == "manifest.json":
            with pytest.raises(BundleNotFoundError):
                verify(root)
    finally:
        (root / path).write_bytes(data)


@shared
@given(
    directory=st.sampled_from(DIRECTORIES),
    name=st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/"), min_size=1, max_size=30),
    is_directory=st.booleans(),
)
def test_an_added_file_or_directory(root: Path, directory: str, name: str, is_directory: bool) -> None:  # noqa: FBT001
    path = root / directory / name
    if name in (".", "..") or path.exists():
        return
    if is_directory:
        path.mkdir()
    else:
        path.write_bytes(b"")
    try:
        expect_refusal(root, f"{directory}/{name}".removeprefix("/"))
    finally:
        if is_directory:
            path.rmdir()
        else:
            path.unlink()
