"""ModelPack artifacts, by https://github.com/modelpack/model-spec: the keys, types and media types that it allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from tests.support.bundles import golden_of, invented_model, make_bundle, proved
from tests.support.images import two_models
from thoth_models.bundle.digest import Digest
from thoth_models_builder.oci.compose import Base, Composed, Plan, compose
from thoth_models_builder.oci.image_config import Created, labels
from thoth_models_builder.oci.layers import bundle_layers, layer_beside
from thoth_models_builder.oci.modelpack import make_config, make_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.oci.layers import Layer


def table(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
MODALITIES = {"type": "array", "items": {"enum": ["text", "image", "audio", "video", "embedding", "other"]}}

CONFIG = table(
    descriptor=table(
        **dict.fromkeys(("createdAt", "family", "name", "docURL", "sourceURL", "version", "revision", "vendor"), TEXT),
        **dict.fromkeys(("title", "description"), TEXT),
        **dict.fromkeys(("authors", "licenses", "datasetsURL"), TEXTS),
    ),
    config=table(
        **dict.fromkeys(("architecture", "format", "paramSize", "precision", "quantization"), TEXT),
        capabilities=table(
            inputTypes=MODALITIES,
            outputTypes=MODALITIES,
            knowledgeCutoff=TEXT,
            reasoning={"type": "boolean"},
            toolUsage={"type": "boolean"},
            reward={"type": "boolean"},
            languages={"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}},
        ),
    ),
    modelfs=table(type={"const": "layers"}, diffIds={**TEXTS, "minItems": 1}),
)
"""What docs/config.md of the specification allows, written anew."""


def artifact(
    root: Path, manifest: Manifest, created: Created | None = None, more: Mapping[str, str] | None = None
) -> Composed:
    when = created or Created()
    layers = bundle_layers(manifest, root, root="/models", mtime=when.seconds)
    plan = Plan(
        format="modelpack",
        manifest=manifest,
        bundle_digest=Digest.of(manifest.to_bytes()),
        layers=layers,
        base=Base(images=()),
        texts=labels(manifest, Digest.of(b"1"), Digest.of(b"2"), when, more or {}),
        created=when,
        root="/models",
    )
    return compose(plan, [Digest.of(layer.name.encode()) for layer in layers])


def test_the_manifest_is_one_of_a_model(place: Path) -> None:
    mini = proved(invented_model("mini", variants=("onnx-fp32", "torch-fp32")), golden_of(["a text"]))
    composed = artifact(place / "b", make_bundle(place / "b", [mini]))
    (data,) = composed.manifests
    document = json.loads(data)
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert document["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert document["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert document["config"]["digest"] == f"sha256:{Digest.of(composed.configs[0])}"
    weight = "application/vnd.cncf.model.weight.v1.tar"
    assert [(layer["mediaType"], layer["annotations"]["org.cncf.model.filepath"]) for layer in document["layers"]] == [
        ("application/vnd.cncf.model.dataset.v1.tar", "models/mini"),  # golden.json: texts and their vectors
        (weight, "models/mini/onnx-fp32"),
        (weight, "models/mini/source"),
        ("application/vnd.cncf.model.weight.config.v1.tar", "models"),
    ]
    assert document["annotations"]["org.opencontainers.image.title"] == "test-bundle"
    assert (composed.index, composed.platforms) == (None, ())


def test_the_configuration_is_one_of_a_model(place: Path) -> None:
    composed = artifact(place / "b", two_models(place / "b"))
    document = json.loads(composed.configs[0])
    Draft202012Validator(CONFIG).validate(document)
    layers = json.loads(composed.manifests[0])["layers"]
    assert document == {
        "descriptor": {
            "name": "test-bundle",
            "title": "test-bundle",
            "description": "Embedding models, verified: mini, other",
            "version": Digest.of(b"1").short,
            "licenses": ["Apache-2.0"],
        },
        "config": {
            "format": "safetensors",
            "precision": "fp32",
            "capabilities": {"inputTypes": ["text"], "outputTypes": ["embedding"]},
        },
        "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in layers]},
    }


def test_what_the_caller_knows_is_said(place: Path) -> None:
    more = {"org.opencontainers.image.source": "https://example.org", "org.opencontainers.image.revision": "abc"}
    created = Created(seconds=1_700_000_000, is_stated=True)
    document = json.loads(artifact(place / "b", two_models(place / "b"), created, more).configs[0])
    Draft202012Validator(CONFIG).validate(document)
    assert (
        document["descriptor"].items()
        >= {
            "sourceURL": "https://example.org",
            "revision": "abc",
            "createdAt": "2023-11-14T22:13:20Z",
        }.items()
    )


def test_layers_are_those_of_the_image(place: Path) -> None:
    composed = artifact(place / "b", two_models(place / "b"))
    ours = [layer.digest for layer in composed.layers]
    assert [f"sha256:{digest}" for digest in ours] == [
        layer["digest"] for layer in json.loads(composed.manifests[0])["layers"]
    ]


def test_a_signature_is_a_small_file_beside_the_model(place: Path) -> None:
    layer = layer_beside("signature", b"{}", ".sig", root="/models", mtime=0)
    config, manifest = make_manifests(two_models(place / "b"), layer)
    (descriptor,) = json.loads(manifest)["layers"]
    assert descriptor["mediaType"] == "application/vnd.cncf.model.weight.config.v1.tar"
    assert descriptor["annotations"]["org.cncf.model.filepath"] == "models.sig"
    assert json.loads(config)["modelfs"]["diffIds"] == [f"sha256:{Digest.of(b'layer')}"]


def make_manifests(manifest: Manifest, layer: Layer) -> tuple[bytes, bytes]:
    pairs = [(layer, Digest.of(b"layer"))]
    config = make_config(manifest, pairs, {}, Created())
    return config, make_manifest(manifest, config, pairs, {})
