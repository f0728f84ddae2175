from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from thoth_models.bundle.accuracy import Gate
from thoth_models.bundle.canonical_json import FormatError, Node, canonical_json, parse_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.bundle.model import (
    Alternate,
    BuildRecord,
    BuiltModel,
    ConfiguredFile,
    Model,
    Origin,
    Variant,
    read_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = {
    path: ContentDigest(size=1, sha256=Digest.of(path.encode()))
    for path in ("mini/onnx-fp32/model.onnx", "mini/golden")
}
ORIGIN = Origin(kind="hub", id="org/mini", revision="a" * 40)
ALTERNATE = Alternate(model="other", accepts_other_space=True)
VARIANT = Variant(
    name="onnx-fp32",
    backend="onnx",
    precision="fp32",
    directory="mini/onnx-fp32",
    files=("mini/onnx-fp32/model.onnx",),
    gate=Gate(required_cosine=0.99999),
)
RECORD = BuildRecord(
    golden="mini/golden",
    derivation=Digest.of(b"key"),
    toolchain={"torch": "2"},
    omitted={"onnx-int8": "a loop"},
    code={"modeling.py": "1" * 64},
    converted={"model.safetensors": {"pytorch_model.bin": "3" * 64}},
)
CONFIGURED = ConfiguredFile(path="modules.json", origin=None, reasons=("pooling: mean",))
CHANGED = ConfiguredFile(path="config.json", origin=Digest.of(b"origin"), reasons=("one", "two"))
BUILT = BuiltModel(
    origin=ORIGIN,
    license="mit",
    max_seq_length=128,
    pooling="mean",
    normalize=True,
    similarity="cosine",
    prompts={"query": "query: "},
    default_prompt_name="query",
    space=Digest.of(b"space"),
    variants=(VARIANT,),
    record=RECORD,
    configured=(CHANGED, CONFIGURED),
    license_link="LICENSE.md",
)
MODEL = Model(name="mini", aliases=("a", "b"), alternates=(ALTERNATE,), dimension=8, built=BUILT)


def node(document: object) -> Node:
    return parse_json(canonical_json(document))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (ORIGIN, Origin.from_node),
        (ALTERNATE, Alternate.from_node),
        (VARIANT, lambda node: Variant.from_node(node, FILES)),
        (RECORD, lambda node: BuildRecord.from_node(node, FILES)),
        (CONFIGURED, ConfiguredFile.from_node),
        (CHANGED, ConfiguredFile.from_node),
        (BUILT, lambda node: BuiltModel.from_node(node, FILES)),
    ],
)
def test_each_part_survives_its_json(value: Any, read: Callable[[Node], object]) -> None:
    assert read(node(value.to_document())) == value


def test_a_record_without_code_and_pickles_has_neither_key() -> None:
    document = replace(RECORD, code={}, converted={}).to_document()
    assert document.keys().isdisjoint({"code", "converted"})
    assert BuildRecord.from_node(node(document), FILES) == replace(RECORD, code={}, converted={})


def test_a_model_survives_its_json_under_its_name() -> None:
    (member,) = node({"mini": MODEL.to_document()}).mapping()
    assert Model.from_node(member, FILES) == MODEL


def test_a_model_of_an_earlier_release_has_no_list_of_configured_files() -> None:
    document = {key: value for key, value in BUILT.to_document().items() if key != "configured"}
    old = BuiltModel.from_node(node(document), FILES)
    assert old == replace(BUILT, configured=())
    assert old.to_document() == document


@pytest.mark.parametrize("files", [[], [CONFIGURED, CHANGED], [CHANGED, CHANGED]])
def test_configured_files_are_listed_once_in_order(files: list[ConfiguredFile]) -> None:
    document = {**BUILT.to_document(), "configured": [file.to_document() for file in files]}
    with pytest.raises(FormatError, match="configured: expected at least one file, sorted by path, each once"):
        BuiltModel.from_node(node(document), FILES)


@pytest.mark.parametrize("value", [ORIGIN, VARIANT, RECORD, CONFIGURED, BUILT])
def test_each_field_is_a_key_of_its_name(value: Any) -> None:
    assert set(value.to_document()) == {field.name for field in fields(value)}


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("read", "document", "message"),
    [
        (Origin.from_node, {**ORIGIN.to_document(), "kind": "ftp"}, 'kind: expected "hub" or "wheel" or "directory"'),
        (Alternate.from_node, {"model": "A", "other_space": "accept"}, "model: expected a name"),
        (Alternate.from_node, {"model": "a", "other_space": True}, 'other_space: expected "accept" or "refuse"'),
        (
            lambda node: Variant.from_node(node, {}),
            VARIANT.to_document(),
            "files: expected paths that `files` lists, found 'mini/onnx-fp32/model.onnx'",
        ),
        (
            lambda node: Variant.from_node(node, FILES),
            {**VARIANT.to_document(), "directory": "other"},
            "files: expected paths below 'other'",
        ),
        (
            lambda node: Variant.from_node(node, FILES),
            {**VARIANT.to_document(), "accuracy": None},
            "expected only the keys",
        ),
        (ConfiguredFile.from_node, {**CHANGED.to_document(), "reasons": []}, "reasons: expected at least one reason"),
        (ConfiguredFile.from_node, {**CHANGED.to_document(), "path": "../x"}, "path: expected a relative path"),
        (ConfiguredFile.from_node, {**CHANGED.to_document(), "origin": "x"}, "origin: expected a sha256"),
        (lambda node: BuildRecord.from_node(node, {}), RECORD.to_document(), "golden: expected a path that `files`"),
    ],
)
def test_a_malformed_part_of_a_manifest_is_refused(
    read: Callable[[Node], object], document: object, message: str
) -> None:
    with pytest.raises(FormatError) as caught:
        read(node(document))
    assert message in str(caught.value)


def test_a_name() -> None:
    assert read_name(node("a-1")) == "a-1"
    with pytest.raises(FormatError, match="expected a name of lower-case letters, digits and hyphens"):
        read_name(node("-a"))
