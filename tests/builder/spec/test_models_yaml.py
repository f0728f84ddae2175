from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tests.support.projects import COMMIT, REPOSITORY, spec_of, specification
from thoth_models_builder.errors import SpecError
from thoth_models_builder.pipeline import inputs
from thoth_models_builder.spec.models_yaml import (
    DirectorySource,
    HubSource,
    ModelSpec,
    Spec,
    WheelSource,
    json_schema,
    parse_spec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = {"directory": "models/mini"}
MODEL = {"sources": [DIRECTORY]}


def findings(models: Mapping[str, Mapping[str, Any]], *, default: str | None = None) -> list[str]:
    """Return each finding without its line, which the files in malformed/ are about."""
    with pytest.raises(SpecError) as caught:
        spec_of(models, default=default)
    assert all(finding.line is not None for finding in caught.value.findings)
    return [f"{finding.path}: {finding.message}" for finding in caught.value.findings]


def finding(models: Mapping[str, Mapping[str, Any]], *, default: str | None = None) -> str:
    (only,) = findings(models, default=default)
    return only


def test_the_list_of_this_repository() -> None:
    spec = parse_spec((REPOSITORY / "models.yaml").read_bytes(), "models.yaml")
    assert spec.bundle.default == "multilingual-mini"
    assert list(spec.models) == ["multilingual-mini", "mini"]
    multilingual, mini = spec.models.values()
    assert multilingual.when_unavailable == "use-alternates"
    assert [(other.model, other.other_space) for other in multilingual.alternates] == [("mini", "accept")]
    assert [type(source).__name__ for source in mini.sources] == ["HubSource", "WheelSource"]
    assert multilingual.variants == ["onnx-fp32", "torch-fp32"]
    assert mini.variants == ["onnx-fp32", "onnx-int8", "torch-fp32"]
    assert all(model.normalize and model.golden for model in spec.models.values())


def test_what_may_be_left_out_has_a_default() -> None:
    spec = spec_of({"mini": {"sources": [{"hub": "org/mini"}, {"wheel": "mini==1", "path": "mini"}, DIRECTORY]}})
    model = spec.models["mini"]
    assert model.sources == [
        HubSource(hub="org/mini", revision="main"),
        WheelSource(wheel="mini==1", path="mini"),
        DirectorySource(directory="models/mini"),
    ]
    assert (model.aliases, model.alternates, model.when_unavailable, model.normalize) == ([], [], "fail", True)


def test_a_model_can_be_made_of_sources_that_exist() -> None:
    source = HubSource(hub="org/mini")
    assert ModelSpec(sources=[source], variants=["torch-fp32"]).sources == [source]


@pytest.mark.parametrize(
    ("revision", "is_pinned"),
    [
        (COMMIT, True),
        ("main", False),
        ("v1.0", False),
        (COMMIT[:39], False),
        (COMMIT.upper(), False),
        ("f" * 41, False),
    ],
)
def test_a_revision_is_pinned_if_it_is_a_commit(revision: str, *, is_pinned: bool) -> None:
    assert HubSource(hub="org/mini", revision=revision).is_pinned is is_pinned


@pytest.mark.parametrize("name", ["a", "0", "mini", "mini-6", "a--b", "a-", "a" * 63])
def test_names_that_are_fine(name: str) -> None:
    assert list(spec_of({name: MODEL}).models) == [name]


@pytest.mark.parametrize(
    "name", ["", "-a", "A", "mIni", "mini_6", "mini.6", "mini 6", "mini/6", "a" * 64, "é", "a\n", "\na", "٣", ".."]
)
def test_names_that_are_not(name: str) -> None:
    places = {line.partition(": ")[0] for line in findings({name: MODEL})}
    shown = name if name.isprintable() else json.dumps(name)
    assert places == {"bundle.default", f"models.{shown}"}
    assert all(
        "1 to 63 lower-case letters, digits and hyphens, the first not a hyphen" in line
        for line in findings({name: MODEL})
    )


@pytest.mark.parametrize("alias", ["a", "A", "all-MiniLM-L6-v2", "org/Name_v1.0", "0", "a" * 128, "mini2"])
def test_aliases_that_are_fine(alias: str) -> None:
    assert spec_of({"mini": {**MODEL, "aliases": [alias]}}).models["mini"].aliases == [alias]


@pytest.mark.parametrize("alias", ["", " a", "a b", "-a", "/a", "a" * 129, "a\n", "é", "a:b"])
def test_aliases_that_are_not(alias: str) -> None:
    assert finding({"mini": {**MODEL, "aliases": [alias]}}).startswith(
        "models.mini.aliases[0]: expected 1 to 128 letters"
    )


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({"hub": "a b"}, "hub: expected a repository id"),
        ({"hub": "/mini"}, "hub: expected a repository id"),
        ({"hub": "org/mini/more"}, "hub: expected a repository id"),
        ({"hub": "../mini"}, "hub: expected a repository id"),
        ({"hub": "org/" + "m" * 97}, "hub: expected a repository id, such as organisation/name, both of at most 96"),
        ({"hub": "o" * 97 + "/mini"}, "hub: expected a repository id"),
        ({"hub": None}, "hub: expected a string, found nothing"),
        ({"hub": ["org/mini"]}, "hub: expected a string, found a list"),
        ({"hub": {"org": "mini"}}, "hub: expected a string, found a mapping"),
        ({"hub": "org/mini", "revision": ""}, "revision: expected a commit, tag or branch"),
        ({"hub": "org/mini", "revision": "-x"}, "revision: expected a commit, tag or branch"),
        ({"hub": "org/mini", "revision": "a b"}, "revision: expected a commit, tag or branch"),
        ({"hub": "org/mini", "revision": True}, "revision: expected a string, found true; quote it"),
        ({"hub": "org/mini", "revision": 1.5}, "revision: expected a string, found 1.5; quote it"),
        ({"hub": "org/mini", "path": "x"}, "path: expected no such key, found an unknown one"),
        ({"wheel": "mini==1"}, "path: expected this key, found nothing"),
        ({"wheel": "mini", "path": "x"}, "wheel: expected a pinned distribution"),
        ({"wheel": "mini>=1", "path": "x"}, "wheel: expected a pinned distribution"),
        ({"wheel": "mini==1,==2", "path": "x"}, "wheel: expected a pinned distribution"),
        ({"wheel": "mini==1.*", "path": "x"}, "wheel: expected a pinned distribution"),
        ({"wheel": "mini[extra]==1", "path": "x"}, "wheel: expected a pinned distribution"),
        ({"wheel": "--pre", "path": "x"}, "wheel: expected a pinned distribution"),
        ({"wheel": "mini==1", "path": ".."}, "path: expected a directory inside the wheel"),
        ({"wheel": "mini==1", "path": "a/../b"}, "path: expected a directory inside the wheel"),
        ({"wheel": "mini==1", "path": "/a"}, "path: expected a directory inside the wheel"),
        ({"wheel": "mini==1", "path": "a/"}, "path: expected a directory inside the wheel"),
        ({"wheel": "mini==1", "path": "a\\b"}, "path: expected a directory inside the wheel"),
        ({"directory": ""}, "directory: expected a string of at least 1 character, found ''"),
        ({"directory": "a\0b"}, "directory: expected a path without null"),
        ({"directory": "a", "revision": "main"}, "revision: expected no such key, found an unknown one"),
    ],
)
def test_sources_that_cannot_be_used(source: dict[str, Any], found: str) -> None:
    assert finding({"mini": {"sources": [DIRECTORY, source]}}).startswith(f"models.mini.sources[1].{found}")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({}, "an empty mapping"),
        ({"revision": "main"}, "revision"),
        ({"hub": "a", "wheel": "b==1", "path": "c"}, "hub, wheel, path"),
        ({"hub": "a", "directory": "b"}, "hub, directory"),
        ({"li\nne": "a"}, '"li\\nne"'),
        ("org/mini", "'org/mini'"),
        (None, "nothing"),
        ([], "a list"),
    ],
)
def test_a_source_is_of_exactly_one_kind(source: object, found: str) -> None:
    assert finding({"mini": {"sources": [source]}}) == (
        f"models.mini.sources[0]: expected a mapping with exactly one of the keys hub, wheel, directory, found {found}"
    )


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sources": []}, "sources: expected at least one entry, found none"),
        ({"sources": None}, "sources: expected a list, found nothing"),
        ({"sources": "x" * 100}, "sources: expected a list, found '" + "x" * 79 + "…"),
        ({"variants": []}, "variants: expected at least one entry, found none"),
        ({"variants": "torch-fp32"}, "variants: expected a list, found 'torch-fp32'"),
        (
            {"variants": ["onnx-fp16"]},
            "variants[0]: expected one of onnx-fp32, onnx-int8, torch-fp32, found 'onnx-fp16'",
        ),
        ({"variants": ["torch-fp32", 1]}, "variants[1]: expected a string, found 1; quote it"),
        (
            {"variants": ["torch-fp32", "torch-fp32"]},
            "variants[1]: expected each variant once, found 'torch-fp32' again",
        ),
        ({"aliases": {"a": "b"}}, "aliases: expected a list, found a mapping"),
        ({"alternates": "other"}, "alternates: expected a list, found 'other'"),
        ({"alternates": ["other"]}, "alternates[0]: expected a mapping, found 'other'"),
        ({"alternates": [{}]}, "alternates[0].model: expected this key, found nothing"),
        (
            {"alternates": [{"model": "other", "other_space": True}]},
            "alternates[0].other_space: expected 'accept' or 'refuse', found True",
        ),
        (
            {"alternates": [{"model": "nobody"}]},
            "alternates[0].model: expected a model of this file (mini, other), found 'nobody'",
        ),
        (
            {"alternates": [{"model": "other"}, {"model": "other"}]},
            "alternates[1].model: expected each alternate once, found 'other' again",
        ),
        ({"normalize": 1}, "normalize: expected true, false or auto, found 1"),
        ({"when_unavailable": None}, "when_unavailable: expected 'fail' or 'use-alternates', found nothing"),
        (
            {"when_unavailable": "use-alternates"},
            "when_unavailable: expected an alternate with `other_space: accept` to use, found none",
        ),
        (
            {"when_unavailable": "use-alternates", "alternates": [{"model": "other", "other_space": "refuse"}]},
            "when_unavailable: expected an alternate with `other_space: accept` to use, found none",
        ),
        ({"colour": "blue"}, "colour: expected no such key, found an unknown one"),
    ],
)
def test_what_a_model_may_not_say(changes: dict[str, Any], found: str) -> None:
    assert finding({"mini": {**MODEL, **changes}, "other": MODEL}) == f"models.mini.{found}"


def alternates(*names: str) -> dict[str, Any]:
    return {**MODEL, "alternates": [{"model": name, "other_space": "accept"} for name in names]}


def test_one_fault_does_not_hide_another() -> None:
    document = {
        "bundle": {"name": "Wrong Name", "default": "nobody"},
        "models": {
            "mini": {"sources": 3, "variants": ["no"], "aliases": ["other"], "alternates": [{"model": "nobody"}, 4]},
            "other": [],
            "third": None,
        },
    }
    with pytest.raises(SpecError) as caught:
        parse_spec(json.dumps(document).encode(), "models.yaml")
    assert [finding.path for finding in caught.value.findings] == [
        "bundle.default",
        "bundle.name",
        "models.mini.aliases[0]",
        "models.mini.alternates[0].model",
        "models.mini.alternates[1]",
        "models.mini.sources",
        "models.mini.variants[0]",
        "models.other",
        "models.third",
        "version",
    ]
    assert str(caught.value).startswith("models.yaml: 10 errors\n  line 1: bundle.default: expected ")


def test_a_key_that_yaml_reads_as_false_is_one_finding() -> None:
    """Also where it is the only model: nothing else is missing for that."""
    head = b"version: 1\nbundle: {name: a, default: 'no'}\nmodels:\n"
    text = head + b"  no:\n    sources: [{directory: d}]\n    variants: [onnx-fp32]\n"
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "models.yaml")
    assert list(map(str, caught.value.findings)) == [
        "line 4: models: expected keys that are strings, found no; quote it"
    ]


@pytest.mark.parametrize("value", ["no", "On", "1.10", "2024-01-01", "0x10"])
def test_a_value_that_yaml_reads_as_something_else_is_shown_as_it_is_written(value: str) -> None:
    model = f"sources: [{{hub: org/mini, revision: {value}}}], variants: [onnx-fp32], aliases: [a, {value}]"
    with pytest.raises(SpecError) as caught:
        parse_spec(
            f"version: 1\nbundle: {{name: a, default: mini}}\nmodels:\n  mini: {{{model}}}\n".encode(), "models.yaml"
        )
    assert list(map(str, caught.value.findings)) == [
        f"line 4: models.mini.{place}: expected a string, found {value}; quote it"
        for place in ("aliases[1]", "sources[0].revision")
    ]


def test_text_that_has_no_utf8_is_refused() -> None:
    assert "found '\\ud800'" in finding({"mini": {"sources": [{"directory": "\ud800"}]}})


# --- the JSON Schema ---


def test_the_committed_schema_is_what_the_command_prints() -> None:
    assert (REPOSITORY / "models.schema.json").read_text(encoding="utf-8") == inputs.schema()
    assert json.loads(inputs.schema()) == json_schema()


def test_the_first_line_of_the_list_points_editors_to_the_schema() -> None:
    first = (REPOSITORY / "models.yaml").read_text(encoding="utf-8").splitlines()[0]
    name = first.removeprefix("# yaml-language-server: $schema=./")
    assert name != first
    assert (REPOSITORY / name).samefile(REPOSITORY / "models.schema.json")


def accepts(document: object) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(document))


def test_the_schema_is_one_and_accepts_the_list_of_this_repository() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert accepts(yaml.safe_load((REPOSITORY / "models.yaml").read_bytes()))


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": []},
        {"sources": [{}]},
        {"sources": [{"hub": "a b"}]},
        {"sources": [{"hub": "a", "path": "b"}]},
        {"sources": [{"wheel": "mini", "path": "b"}]},
        {"sources": [{"wheel": "mini==1", "path": "../b"}]},
        {"variants": ["onnx-fp16"]},
        {"aliases": ["a b"]},
        {"alternates": [{"model": "Other"}]},
        {"when_unavailable": "ignore"},
        {"normalize": "yes"},
        {"colour": "blue"},
    ],
)
def test_an_editor_marks_what_the_builder_refuses(changes: dict[str, Any]) -> None:
    models = {"mini": {**MODEL, **changes}}
    assert findings(models)
    assert accepts(json.loads(specification({"mini": MODEL})))
    assert not accepts(json.loads(specification(models)))


def test_every_key_has_a_description_for_editors_or_is_plain() -> None:
    plain = {"version", "bundle", "models", "model"}
    tables = [Spec.model_json_schema(), *json_schema()["$defs"].values()]
    undescribed = {
        key for table in tables for key, value in table.get("properties", {}).items() if "description" not in value
    }
    assert undescribed <= plain
