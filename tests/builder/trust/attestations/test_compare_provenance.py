from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attesting import COMMIT, Attestable
from thoth_models.bundle.canonical_json import FormatError, parse_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle.configure import settings_of
from thoth_models_builder.bundle.derivation import cache_key
from thoth_models_builder.trust.attestations.compare_provenance import provenance_differences
from thoth_models_builder.trust.attestations.provenance import BUILD_TYPE, Builder, Request, provenance_predicate

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.bundle.manifest import Manifest

WRONG = "0" * 64


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, str]:
    attestable = Attestable(tmp_path_factory.mktemp("attestable"), release=7)
    manifest = attestable.write()
    request = Request(
        bundle=attestable.spec.bundle.model_dump(mode="json", exclude_unset=True),
        planned=attestable.planned,
        settings={model.name: settings_of(model.spec) for model in attestable.planned},
        specification=Digest.of(b"spec"),
        lock=Digest.of(b"lock"),
        is_selection=False,
    )
    return manifest, json.dumps(provenance_predicate(manifest, request, Builder(id="a:b", version="1"), {}))


@pytest.fixture
def predicate(made: tuple[Manifest, str]) -> Any:
    return json.loads(made[1])


def found(predicate: Any, made: tuple[Manifest, str]) -> list[tuple[str, str, str]]:
    node = parse_json(json.dumps(predicate).encode())
    return [(one.path, one.expected, one.found) for one in provenance_differences(node, made[0], cache_key)]


def dependency(predicate: Any, name: str) -> dict[str, Any]:
    (one,) = [one for one in predicate["buildDefinition"]["resolvedDependencies"] if one["name"] == name]
    return one  # type: ignore[no-any-return]


def test_our_own_statement_is_true(predicate: Any, made: tuple[Manifest, str]) -> None:
    assert found(predicate, made) == []


def without(name: str) -> Callable[[Any], None]:
    def change(predicate: Any) -> None:
        predicate["buildDefinition"]["resolvedDependencies"].remove(dependency(predicate, name))

    return change


def digest_of(name: str) -> Callable[[Any], None]:
    def change(predicate: Any) -> None:
        dependency(predicate, name)["digest"] = {"sha256": WRONG}

    return change


def uri_of(name: str) -> Callable[[Any], None]:
    def change(predicate: Any) -> None:
        dependency(predicate, name)["uri"] = "pkg:pypi/another@1"

    return change


def parameter(*path: str, value: Any) -> Callable[[Any], None]:
    def change(predicate: Any) -> None:
        place = predicate["buildDefinition"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (digest_of("mini/modules.json"), "resolvedDependencies: mini/modules.json", f"sha256 {WRONG}"),
        (digest_of("mini/config.json"), "resolvedDependencies: mini/config.json", f"sha256 {WRONG}"),
        (without("mini/modules.json"), "resolvedDependencies: mini/modules.json", "no such entry"),
        (digest_of("plain/config.json"), "resolvedDependencies: plain/config.json", f"sha256 {WRONG}"),
        # Not in the bundle: the cache key is what differs.
        (digest_of("other/modules.json"), "resolvedDependencies: other", "some that give "),
        (without("other/modules.json"), "resolvedDependencies: other", "some that give "),
        (uri_of("mini/modules.json"), "resolvedDependencies: mini/modules.json", "uri pkg:pypi/another@1"),
        (uri_of("coded/pytorch_model.bin"), "resolvedDependencies: coded/pytorch_model.bin", "uri pkg:pypi/another@1"),
        (uri_of("modeling.py"), "resolvedDependencies: coded/modeling.py", "uri pkg:pypi/another@1"),
        (uri_of("coded/model.safetensors"), "resolvedDependencies: coded/model.safetensors", "uri pkg:pypi/another@1"),
        (uri_of("plain/config.json"), "resolvedDependencies: plain/config.json", "uri pkg:pypi/another@1"),
        (digest_of("modeling.py"), "resolvedDependencies: coded/modeling.py", f"sha256 {WRONG}"),
        (digest_of("coded/pytorch_model.bin"), "resolvedDependencies: coded/pytorch_model.bin", f"sha256 {WRONG}"),
        (digest_of("compiler"), "resolvedDependencies: the toolchain/compiler", f"sha256 {WRONG}"),
        (without("torch"), "resolvedDependencies: the toolchain/torch 0.0.1+cpu", "no such entry"),
        (uri_of("torch"), "resolvedDependencies: the toolchain/torch 0.0.1+cpu", "uri pkg:pypi/another@1"),
        (
            parameter("externalParameters", "bundle", "name", value="x"),
            "buildDefinition.externalParameters.bundle.name",
            '"x"',
        ),
        (
            parameter("externalParameters", "bundle", "release", value=8),
            "buildDefinition.externalParameters.bundle.release",
            "8",
        ),
        (
            parameter("externalParameters", "bundle", "default", value="other"),
            "buildDefinition.externalParameters.bundle.default",
            '"other"',
        ),
        (parameter("externalParameters", "models", value={}), "buildDefinition.externalParameters.models", "[]"),
        (parameter("internalParameters", "models", value={}), "buildDefinition.internalParameters.models", "[]"),
        (
            parameter("internalParameters", "models", "mini", "toolchain", "torch", value="9"),
            "buildDefinition.internalParameters.models.mini.toolchain.torch",
            '"9"',
        ),
        (
            parameter("internalParameters", "models", "mini", "derivation", value=WRONG),
            "buildDefinition.internalParameters.models.mini.derivation",
            f'"{WRONG}"',
        ),
        (
            parameter("internalParameters", "models", "mini", "settings", "max_seq_length", value=64),
            "resolvedDependencies: mini",
            "some that give ",
        ),
        (
            parameter("externalParameters", "models", "other", "variants", value=["onnx-int8"]),
            "resolvedDependencies: other",
            "some that give ",
        ),
    ],
)
def test_what_is_not_so_is_said_with_its_place(
    predicate: Any, made: tuple[Manifest, str], change: Callable[[Any], None], where: str, what: str
) -> None:
    change(predicate)
    said = found(predicate, made)
    assert any(path == where and instead.startswith(what) for path, _, instead in said), said


def test_a_file_of_a_model_that_the_bundle_does_not_have(predicate: Any, made: tuple[Manifest, str]) -> None:
    dependency(predicate, "plain/config.json")["annotations"]["model"] = "gone"
    assert ("buildDefinition.resolvedDependencies", "files of models in the bundle", 'files of "gone"') in found(
        predicate, made
    )


def test_a_file_that_the_bundle_does_not_have(predicate: Any, made: tuple[Manifest, str]) -> None:
    more = {**dependency(predicate, "plain/config.json"), "name": "plain/more"}
    more["annotations"] = {**more["annotations"], "path": "more"}
    predicate["buildDefinition"]["resolvedDependencies"].append(more)
    assert found(predicate, made)[0][:2] == ("resolvedDependencies: plain/more", "no such entry")


def test_digests_that_no_manifest_has_are_not_compared(predicate: Any, made: tuple[Manifest, str]) -> None:
    dependency(predicate, "torch")["digest"] = {"dirHash": WRONG}
    assert found(predicate, made) == []


@pytest.mark.parametrize(
    "change",
    [
        parameter("buildType", value="https://example.org/other"),
        parameter("resolvedDependencies", value={}),
        lambda predicate: dependency(predicate, "mini/config.json").pop("digest"),
        lambda predicate: dependency(predicate, "mini/config.json").pop("annotations"),
        lambda predicate: predicate["buildDefinition"]["resolvedDependencies"].append(
            dependency(predicate, "mini/config.json")
        ),
        lambda predicate: predicate.pop("buildDefinition"),
    ],
)
def test_another_document_is_refused(predicate: Any, made: tuple[Manifest, str], change: Callable[[Any], None]) -> None:
    change(predicate)
    with pytest.raises(FormatError):
        found(predicate, made)


def test_the_formula_of_the_cache_key_is_part_of_the_build_type() -> None:
    """Statements of earlier releases are compared by it: another formula needs another type, and both are then read."""
    files = {"config.json": ContentDigest(size=0, sha256=Digest.of(b"a"))}
    key = cache_key(files, ["torch-fp32", "onnx-fp32"], {"torch": "2"}, {"pooling": ("mean", "cls"), "task": None})
    assert key.hex == "1b2060f859cc73638029697ad7d32b4d284cf330f7f00c96fdf2ea3767a720f5"
    assert BUILD_TYPE == "https://thoth-models/build/v1"


def test_the_commit_is_in_the_addresses(predicate: Any, made: tuple[Manifest, str]) -> None:
    predicate = json.loads(json.dumps(predicate).replace(f"acme/mini@{COMMIT}", f"acme/mini@{'0' * 40}"))
    assert len(found(predicate, made)) == 3
