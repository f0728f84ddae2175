"""A bundle as a ModelPack artifact of the CNCF: the same layers as in an image, under the media types of models. Pure.

By https://github.com/modelpack/model-spec (docs/spec.md, docs/config.md, docs/annotations.md): an OCI manifest with an
``artifactType``, a configuration that describes the model, and layers of weights, of what configures them, and of data.
That specification describes one model; properties that differ between the models of a bundle are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import Digest
from thoth_models_builder.oci.descriptors import OCI_MANIFEST, Descriptor
from thoth_models_builder.oci.image_config import DESCRIPTION, REVISION, SOURCE, TITLE, VERSION, encode
from thoth_models_builder.oci.layers import layer_descriptor
from thoth_models_builder.spec.licences.names import spdx_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.oci.image_config import Created
    from thoth_models_builder.oci.layers import Layer

_MODEL: Final = "application/vnd.cncf.model"
ARTIFACT: Final = f"{_MODEL}.manifest.v1+json"
CONFIG: Final = f"{_MODEL}.config.v1+json"
WEIGHT: Final = f"{_MODEL}.weight.v1.tar"
WEIGHT_CONFIG: Final = f"{_MODEL}.weight.config.v1.tar"
DATASET: Final = f"{_MODEL}.dataset.v1.tar"
FILEPATH: Final = "org.cncf.model.filepath"


def make_config(
    manifest: Manifest, layers: Sequence[tuple[Layer, Digest]], texts: Mapping[str, str], created: Created
) -> bytes:
    """Return the configuration of an artifact.

    Args:
        manifest: Manifest of the bundle.
        layers: Each layer with the digest of its archive, in order.
        texts: Labels of the image of the same bundle.
        created: Time of creation.
    """
    built = [model.built for model in manifest.models.values() if model.built is not None]
    variants = [variant for model in built for variant in model.variants]
    descriptor = {
        "name": manifest.name,
        "title": texts.get(TITLE),
        "description": texts.get(DESCRIPTION),
        "version": texts.get(VERSION),
        "sourceURL": texts.get(SOURCE),
        "revision": texts.get(REVISION),
        "licenses": sorted({text for model in built if (text := spdx_of(model.license))}) or None,
        "createdAt": str(created) if created.is_stated else None,
    }
    formats = {variant.backend for variant in variants}
    precisions = {variant.precision for variant in variants}
    settings = {
        "format": _format(formats),
        "precision": next(iter(precisions)) if len(precisions) == 1 else "mixed" if precisions else None,
        "capabilities": {"inputTypes": ["text"], "outputTypes": ["embedding"]},
    }
    return encode(
        {
            "descriptor": {name: value for name, value in descriptor.items() if value is not None},
            "config": {name: value for name, value in settings.items() if value is not None},
            "modelfs": {"type": "layers", "diffIds": [f"sha256:{digest}" for _, digest in layers]},
        }
    )


def make_manifest(
    manifest: Manifest, config: bytes, layers: Sequence[tuple[Layer, Digest]], texts: Mapping[str, str]
) -> bytes:
    """Return the manifest of an artifact."""
    golden = {
        model.built.record.golden
        for model in manifest.models.values()
        if model.built is not None and model.built.record is not None
    }
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT,
            "config": Descriptor(media_type=CONFIG, digest=Digest.of(config), size=len(config)).as_json(),
            "layers": [_descriptor(layer, digest, golden).as_json() for layer, digest in layers],
            "annotations": dict(texts),
        }
    )


def _descriptor(layer: Layer, digest: Digest, golden: set[str]) -> Descriptor:
    plain = layer_descriptor(layer, digest)
    return replace(
        plain, media_type=_media_type(layer, golden), annotations={**plain.annotations, FILEPATH: layer.directory}
    )


def _media_type(layer: Layer, golden: set[str]) -> str:
    if layer.kind in ("index", "signature", "attestations"):
        return WEIGHT_CONFIG
    # Golden vectors: texts with their expected vectors, which is data to examine a model with.
    if layer.kind == "shared" and all(any(file.path.endswith(f"/{path}") for path in golden) for file in layer.files):
        return DATASET
    return WEIGHT


def _format(backends: set[str]) -> str | None:
    names = {"onnx": "onnx", "torch": "safetensors"}
    return names.get(next(iter(backends))) if len(backends) == 1 else None
