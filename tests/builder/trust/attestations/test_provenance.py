from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attesting import BUILDER_ID, COMMIT, Attestable
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.configure import settings_of
from thoth_models_builder.trust.attestations.provenance import (
    BUILD_TYPE,
    Builder,
    Request,
    provenance_predicate,
    tool_uri,
    without_floats,
)

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest


@pytest.fixture(scope="module")
def attestable(tmp_path_factory: pytest.TempPathFactory) -> Attestable:
    return Attestable(tmp_path_factory.mktemp("attestable"), release=7)


@pytest.fixture(scope="module")
def manifest(attestable: Attestable) -> Manifest:
    return attestable.write()


def predicate(attestable: Attestable, manifest: Manifest, **builder: str) -> dict[str, Any]:
    request = Request(
        bundle={"name": "test-bundle", "default": "mini", "release": 7},
        planned=attestable.planned,
        settings={model.name: settings_of(model.spec) for model in attestable.planned},
        specification=Digest.of(b"spec"),
        lock=Digest.of(b"lock"),
        is_selection=False,
    )
    digests = {("torch", "0.0.1+cpu"): {"dirHash": "00"}}
    return provenance_predicate(manifest, request, Builder(id=BUILDER_ID, version="1.2", **builder), digests)


def test_what_was_asked_for_is_that_of_models_yaml(attestable: Attestable, manifest: Manifest) -> None:
    definition = predicate(attestable, manifest)["buildDefinition"]
    assert definition["buildType"] == BUILD_TYPE
    external = definition["externalParameters"]
    assert external["specification"] == {"name": "models.yaml", "digest": {"sha256": Digest.of(b"spec").hex}}
    assert external["bundle"] == {"name": "test-bundle", "default": "mini", "release": 7}
    assert external["models"]["mini"] == {
        "sources": [{"hub": "acme/mini", "revision": COMMIT}, {"directory": "mirror"}],
        "variants": ["onnx-fp32", "torch-fp32"],
        "golden": True,
        "max_seq_length": 128,
        "int8_floor": {"minimum_cosine": "0.9"},
    }


def test_each_file_of_the_lock_is_a_dependency_with_its_address(attestable: Attestable, manifest: Manifest) -> None:
    found = {one["name"]: one for one in predicate(attestable, manifest)["buildDefinition"]["resolvedDependencies"]}
    assert found["models.lock"]["digest"] == {"sha256": Digest.of(b"lock").hex}
    assert found["mini/config.json"] == {
        "name": "mini/config.json",
        "uri": f"pkg:huggingface/acme/mini@{COMMIT}#config.json",
        "digest": {"sha256": Digest.of(b"mini/config.json").hex},
        "annotations": {"kind": "source", "model": "mini", "path": "config.json"},
    }
    assert found["other/config.json"]["uri"] == "pkg:pypi/acme-other@1.0%2Bcpu"
    assert "uri" not in found["plain/config.json"]
    assert found["modeling.py"]["uri"] == f"pkg:huggingface/acme/coded@{COMMIT}#modeling.py"
    parts = found[f"acme/parts@{COMMIT}:parts.py"]
    assert (parts["uri"], parts["digest"]) == (
        f"pkg:huggingface/acme/parts@{COMMIT}#parts.py",
        {"sha256": Digest.of(b"parts").hex},
    )
    assert found["coded/pytorch_model.bin"]["annotations"]["kind"] == "pickle"
    # Made of the pickle: no origin has these bytes.
    assert "uri" not in found["coded/model.safetensors"]


def test_the_toolchain_is_a_dependency_with_the_digests_that_are_known(
    attestable: Attestable, manifest: Manifest
) -> None:
    definition = predicate(attestable, manifest)["buildDefinition"]
    tools = [one for one in definition["resolvedDependencies"] if one["annotations"]["kind"] == "toolchain"]
    assert [one["name"] for one in tools] == ["compiler", "numpy", "python", "torch"]
    assert tools[2] == {
        "name": "python",
        "uri": "pkg:generic/python@3.11",
        "annotations": {"kind": "toolchain", "version": "3.11"},
    }
    assert tools[3] == {
        "name": "torch",
        "uri": "pkg:pypi/torch@0.0.1%2Bcpu",
        "digest": {"dirHash": "00"},
        "annotations": {"kind": "toolchain", "version": "0.0.1+cpu"},
    }
    mini = manifest.models["mini"].built
    assert mini is not None
    assert mini.record is not None
    assert definition["internalParameters"]["models"]["mini"] == {
        "variants": ["onnx-fp32", "torch-fp32"],
        "settings": {"max_seq_length": 128},
        "derivation": mini.record.derivation.hex,
        "omitted": {},
        "toolchain": dict(mini.record.toolchain),
    }
    assert definition["internalParameters"]["models"]["plain"] == {"variants": ["torch-fp32"], "settings": {}}


def test_the_builder_is_what_the_user_says(attestable: Attestable, manifest: Manifest) -> None:
    assert predicate(attestable, manifest)["runDetails"] == {
        "builder": {"id": BUILDER_ID, "version": {"thoth-models-builder": "1.2"}}
    }
    details = predicate(attestable, manifest, invocation_id="run 7")["runDetails"]
    assert details["metadata"] == {"invocationId": "run 7"}


def test_the_same_input_gives_the_same_bytes(attestable: Attestable, manifest: Manifest) -> None:
    one, other = (json.dumps(predicate(attestable, manifest)) for _ in range(2))
    assert one == other


def test_numbers_that_are_not_integers_become_strings() -> None:
    assert without_floats({"a": [0.95, 1, True, ("b", None)]}) == {"a": ["0.95", 1, True, ["b", None]]}


def test_addresses_of_a_toolchain() -> None:
    assert tool_uri("machine", "x86_64") is None
    assert tool_uri("compiler", "0123456789ab") == "pkg:pypi/thoth-models-builder"
    assert tool_uri("sentence-transformers", "6.2.0") == "pkg:pypi/sentence-transformers@6.2.0"
