"""Verification of what loading needs: one variant, and large files in chunks."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import shutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import Sparse, flip_bit, invented_model, make_bundle, make_writable, opened, replace_manifest
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import CHUNK_SIZE, CHUNKED_ABOVE
from thoth_models.bundle.manifest import CHECKSUMS_NAME, MANIFEST_NAME, Manifest
from thoth_models.errors import VerificationError
from thoth_models.verification.verify import VerifiedVariant, open_bundle, verify, verify_variant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.verification.verify import OpenBundle

MODULES = "mini/source/modules.json"
LARGE = "mini/source/large.safetensors"
LARGE_SIZE = CHUNKED_ABOVE + 100


def verified(opened_bundle: OpenBundle, model_name: str = "mini", index: int = 0) -> VerifiedVariant:
    model = opened_bundle.manifest.models[model_name]
    assert model.built is not None
    return verify_variant(opened_bundle, model, model.built, model.built.variants[index])


def problems_of(opened_bundle: OpenBundle) -> list[tuple[str, str]]:
    with pytest.raises(VerificationError) as caught:
        verified(opened_bundle)
    return [(problem.kind, problem.path) for problem in caught.value.problems]


def test_a_verified_variant_says_what_was_verified(bundle: Path) -> None:
    found = verified(open_bundle(bundle), index=1)
    assert found.model.name == "mini"
    assert found.built is found.model.built
    assert found.variant.name == "onnx-fp32"
    assert found.directory == bundle.resolve() / "mini/onnx-fp32"
    assert found.contents.keys() == {path.removeprefix("mini/onnx-fp32/") for path in found.variant.files}
    for name, content in found.contents.items():
        assert content == (found.directory / name).read_bytes()
        assert content.readonly


@pytest.mark.hostile
def test_only_verification_makes_a_verified_variant(bundle: Path) -> None:
    made = verified(open_bundle(bundle))
    for seal in (None, True, object(), "seal"):
        with pytest.raises(TypeError, match=r"made by thoth_models\.verification\.verify\.verify_variant only"):
            VerifiedVariant(
                seal,
                model=made.model,
                built=made.built,
                variant=made.variant,
                directory=made.directory,
                contents=made.contents,
                golden=made.golden,
            )


def test_damage_elsewhere_does_not_count(bundle: Path) -> None:
    flip_bit(bundle, "mini/onnx-fp32/modules.json")
    with opened(bundle):
        (bundle / "extra").write_bytes(b"")
        shutil.rmtree(bundle / "other")
    verified(open_bundle(bundle))


@pytest.mark.hostile
def test_every_kind_of_damage_to_a_variant_is_refused(bundle: Path) -> None:
    opened_bundle = open_bundle(bundle)
    flip_bit(bundle, "mini/source/model.safetensors")
    with opened(bundle):
        (bundle / MODULES).unlink()
        (bundle / "mini/source/1_Pooling/config.json").write_bytes(b"")
        # A loader that looks for optional files by name would read this one.
        (bundle / "mini/source/adapter_config.json").write_bytes(b"{}")
        (bundle / "mini/source/empty.txt").unlink()
        os.mkfifo(bundle / "mini/source/empty.txt")
    assert problems_of(opened_bundle) == [
        ("changed", "mini/source/1_Pooling/config.json"),
        ("extra", "mini/source/adapter_config.json"),
        ("special", "mini/source/empty.txt"),
        ("changed", "mini/source/model.safetensors"),
        ("missing", MODULES),
    ]


@pytest.mark.hostile
@pytest.mark.parametrize("place", ["mini", "mini/source"])
def test_a_directory_that_is_missing_or_a_symlink(bundle: Path, tmp_path: Path, place: str) -> None:
    opened_bundle = open_bundle(bundle)
    with opened(bundle):
        (bundle / place).rename(tmp_path / "elsewhere")
    found = problems_of(opened_bundle)
    assert found[0] == ("missing", place)
    assert {kind for kind, _ in found} == {"missing"}
    assert ("missing", MODULES) in found
    with opened(bundle):
        (bundle / place).symlink_to(tmp_path / "elsewhere")
    # The files are all there and sound, but not in the bundle.
    assert problems_of(opened_bundle) == [("special", place)]


@pytest.fixture(scope="module")
def large_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("large") / "bundle"
    parts = {0: b"start", CHUNK_SIZE * 2: b"third", LARGE_SIZE - 3: b"end"}
    make_bundle(root, [invented_model("mini", more={"large.safetensors": Sparse(LARGE_SIZE, parts)})])
    yield root
    make_writable(root)


def test_a_large_file_is_compared_in_chunks(large_bundle: Path) -> None:
    content = verify(large_bundle).manifest.files[LARGE]
    assert len(content.chunks) == 5
    third = (b"third" + bytes(CHUNK_SIZE))[:CHUNK_SIZE]
    assert content.chunks[2].hex == hashlib.sha256(third).hexdigest()


@pytest.mark.hostile
@pytest.mark.parametrize(("offset", "chunk", "length"), [(CHUNK_SIZE * 2 - 1, 1, CHUNK_SIZE), (LARGE_SIZE - 1, 4, 100)])
def test_one_bit_of_a_large_file(large_bundle: Path, offset: int, chunk: int, length: int) -> None:
    flip_bit(large_bundle, LARGE, offset=offset)
    with pytest.raises(VerificationError) as caught:
        verified(open_bundle(large_bundle))
    [problem] = caught.value.problems
    assert (problem.kind, problem.path) == ("changed", LARGE)
    assert problem.expected.endswith(f"of the {length} bytes at {chunk * CHUNK_SIZE}")
    flip_bit(large_bundle, LARGE, offset=offset)
    verified(open_bundle(large_bundle))


@pytest.mark.hostile
def test_the_size_of_a_large_file(large_bundle: Path) -> None:
    with opened(large_bundle):
        os.truncate(large_bundle / LARGE, LARGE_SIZE + 1)
    assert problems_of(open_bundle(large_bundle)) == [("changed", LARGE)]
    with opened(large_bundle):
        os.truncate(large_bundle / LARGE, LARGE_SIZE)


@pytest.mark.hostile
def test_a_large_file_that_goes_away_meanwhile(large_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_bundle = open_bundle(large_bundle)
    # import_module, because the package has a function of the same name.
    monkeypatch.setattr(import_module("thoth_models.verification.verify"), "check_tree", lambda *_arguments: [])
    with opened(large_bundle):
        (large_bundle / LARGE).rename(large_bundle / "away")
        (large_bundle / MODULES).rename(large_bundle / "away too")
        (large_bundle / MODULES).symlink_to("/dev/null")
    try:
        assert problems_of(opened_bundle) == [("missing", LARGE), ("special", MODULES)]
    finally:
        with opened(large_bundle):
            (large_bundle / MODULES).unlink()
            (large_bundle / "away").rename(large_bundle / LARGE)
            (large_bundle / "away too").rename(large_bundle / MODULES)


@pytest.mark.hostile
def test_a_digest_of_the_whole_that_lies_is_found_under_strict(large_bundle: Path) -> None:
    """The parts are what is there, the whole is not: the manifest decides, but sha256sum would say something else."""
    manifest = json.loads((large_bundle / MANIFEST_NAME).read_bytes())
    (path,) = [path for path, content in manifest["files"].items() if "chunks" in content]
    manifest["files"][path]["sha256"] = "0" * 64
    with opened(large_bundle):
        replace_manifest(large_bundle, canonical_json(manifest), adjust_checksums=True)
    # The listed digest of the file follows from the manifest as well.
    with opened(large_bundle):
        (large_bundle / CHECKSUMS_NAME).write_bytes(Manifest.from_bytes(canonical_json(manifest)).checksums())
    verify(large_bundle)
    with pytest.raises(VerificationError, match=f"{path}: changed: expected sha256 {'0' * 64}"):
        verify(large_bundle, strict=True)


@pytest.mark.hostile
def test_a_page_that_cannot_be_read_is_a_finding(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle / "mini/onnx-fp32/modules.json"
    size = path.stat().st_size

    class CutShort(mmap.mmap):
        """A file that loses its pages once it is mapped, as on a disk that fails."""

        def __new__(cls, descriptor: int, length: int, **options: Any) -> Any:
            made = super().__new__(cls, descriptor, length, **options)
            if os.fstat(descriptor).st_size == size and path.stat().st_ino == os.fstat(descriptor).st_ino:
                with opened(bundle):
                    os.truncate(path, 0)
            return made

    monkeypatch.setattr("thoth_models.verification.contents.mmap.mmap", CutShort)
    with pytest.raises(VerificationError) as caught:
        verified(open_bundle(bundle), index=1)
    assert [(problem.kind, problem.path) for problem in caught.value.problems] == [
        ("unreadable", "mini/onnx-fp32/modules.json")
    ]


def test_a_system_that_cannot_bring_pages_into_memory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(mmap.mmap):
        def madvise(self, *_arguments: object) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("thoth_models.verification.contents.mmap.mmap", Old)
    verified(open_bundle(bundle), index=1)
    flip_bit(bundle, "mini/onnx-fp32/modules.json")
    with pytest.raises(VerificationError):
        verified(open_bundle(bundle), index=1)
