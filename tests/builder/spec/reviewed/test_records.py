"""What the lock records of code and of converted pickles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.projects import COMMIT, spec_of
from thoth_models.bundle.canonical_json import canonical_json, parse_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.errors import LockError, SpecError
from thoth_models_builder.spec.lockfile import Lock, LockedFile, LockedModel, LockedSource, entry_differences
from thoth_models_builder.spec.reviewed.records import CodeOrigin, ConvertedFile, LockedCode, code_differences

CONTENT = ContentDigest(size=3, sha256=Digest.of(b"abc"))
OTHER = f"org/code@{COMMIT}:dir/modeling.py"
CODE = (
    LockedCode(name="a.py", path="a.py", content=CONTENT),
    LockedCode(name=OTHER, path="1_Module/dir/modeling.py", content=CONTENT),
)
CONVERTED = ConvertedFile(path="model.safetensors", content=CONTENT, made_from={"pytorch_model.bin": CONTENT})
MODEL = LockedModel(
    sources=(LockedSource(kind="directory", id="models/mini", detail=None),),
    variants=("onnx-fp32",),
    revision=None,
    license=None,
    dimension=8,
    files=(LockedFile(path="model.safetensors", size=3, sha256=CONTENT.sha256),),
    code=CODE,
    converted=(CONVERTED,),
)
SPECIFIED = {"sources": [{"directory": "models/mini"}], "variants": ["onnx-fp32"], "golden": True}
LISTED = {code.name: CONTENT.sha256.hex for code in CODE}


def test_the_lock_has_them_and_one_without_has_neither_key() -> None:
    lock = Lock(models={"mini": MODEL})
    assert Lock.from_bytes(lock.to_bytes(), "models.lock") == lock
    plain = Lock(models={"mini": replace(MODEL, code=(), converted=())}).to_bytes()
    assert b'"code"' not in plain
    assert b'"converted"' not in plain
    assert MODEL.digests == {CONTENT.sha256}


def test_the_origin_of_a_key() -> None:
    assert CodeOrigin.of("a.py") is None
    assert CodeOrigin.of(OTHER) == ("org/code", COMMIT, "dir/modeling.py")
    node = parse_json(canonical_json(CODE[1].to_document()))
    assert LockedCode.from_node(node) == CODE[1]


def test_differences_name_both_digests() -> None:
    assert code_differences(LISTED, CODE) == []
    other = "f" * 64
    assert code_differences({"a.py": other}, CODE) == [
        f"code: a.py: expected sha256 {other}, found {CONTENT.sha256.hex}",
        f"code: {OTHER}: expected sha256 of a listed file, found {CONTENT.sha256.hex}",
    ]
    spec = spec_of({"mini": {**SPECIFIED, "code": LISTED}})
    assert entry_differences("mini", spec.models["mini"], MODEL) == [
        "mini: pickle: expected convert, because weights were converted, found refuse"
    ]
    spec = spec_of({"mini": {**SPECIFIED, "code": LISTED, "pickle": "convert"}})
    assert entry_differences("mini", spec.models["mini"], MODEL) == []


EVIL = LockedCode(name="a.py", path="a.py", content=ContentDigest(size=4, sha256=Digest.of(b"evil")))


def test_each_entry_of_a_name_is_compared_with_what_was_reviewed() -> None:
    """A second entry must not hide the first, whose bytes would run."""
    expected = [f"code: a.py: expected sha256 {CONTENT.sha256.hex}, found {EVIL.content.sha256.hex}"]
    assert code_differences(LISTED, (EVIL, *CODE)) == code_differences(LISTED, (*CODE, EVIL)) == expected


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ((EVIL, CODE[0]), r"code: expected each path once, found a\.py, a\.py"),
        ((replace(CODE[0], path="b.py"),), r"code\[0\]\.path: expected the path of a\.py, found \"b\.py\""),
        ((replace(CODE[1], path="modeling.py"),), r"code\[0\]\.path: expected the path of org/code"),
    ],
)
def test_a_lock_in_which_a_file_is_in_the_place_of_another_is_refused(
    code: tuple[LockedCode, ...], message: str
) -> None:
    with pytest.raises(LockError, match=message):
        Lock.from_bytes(Lock(models={"mini": replace(MODEL, code=code)}).to_bytes(), "models.lock")


@pytest.mark.parametrize(
    "converted",
    [
        replace(CONVERTED, path="other.safetensors"),
        replace(CONVERTED, content=ContentDigest(size=3, sha256=Digest.of(b"evil"))),
        replace(CONVERTED, content=ContentDigest(size=4, sha256=CONTENT.sha256)),
    ],
)
def test_what_was_converted_is_what_the_lock_has_among_the_files(converted: ConvertedFile) -> None:
    """Otherwise weights are compiled under the key of others."""
    lock = Lock(models={"mini": replace(MODEL, converted=(converted,))})
    with pytest.raises(LockError, match=rf"converted: expected the length and sha256 that {converted.path} has in"):
        Lock.from_bytes(lock.to_bytes(), "models.lock")


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["a.txt", "../a.py", "/a.py", "org/code@main:a.py", "org/code:a.py", "a b.py"])
def test_other_names_of_code_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match="expected the name to be a Python file of the repository"):
        spec_of({"mini": {**SPECIFIED, "code": {name: "0" * 64}}})


def test_code_and_the_published_files_do_not_go_together() -> None:
    with pytest.raises(
        SpecError, match=r"variants\[1\]: expected compiled variants only, because the model has `code`"
    ):
        spec_of({"mini": {**SPECIFIED, "variants": ["onnx-fp32", "torch-fp32"], "code": {"a.py": "0" * 64}}})
