"""All documents of an image, for each platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.images import two_models
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.compose import Base, Plan, compose, refuse_many_layers
from thoth_models_builder.oci.descriptors import Descriptor
from thoth_models_builder.oci.image_config import BaseImage, Created, labels
from thoth_models_builder.oci.layers import Layer, bundle_layers

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest


AMD64 = BaseImage(platform={"os": "linux", "architecture": "amd64"})


ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


@pytest.fixture
def manifest(place: Path) -> Manifest:
    return two_models(place / "b")


@pytest.fixture
def layers(manifest: Manifest, place: Path) -> tuple[Layer, ...]:
    return bundle_layers(manifest, place / "b", root="/models", mtime=0)


def plan_of(manifest: Manifest, layers: tuple[Layer, ...], *images: BaseImage) -> Plan:
    return Plan(
        format="image",
        manifest=manifest,
        bundle_digest=Digest.of(manifest.to_bytes()),
        layers=layers,
        base=Base(images=images),
        texts=labels(manifest, ONE, TWO, Created(), {}),
        created=Created(),
        root="/models",
    )


def test_one_platform_needs_no_index(manifest: Manifest, layers: tuple[Layer, ...]) -> None:
    digests = [ONE] * len(layers)
    single = compose(plan_of(manifest, layers, AMD64), digests)
    assert single.index is None
    assert single.entry.digest == Digest.of(single.manifests[0])
    assert dict(single.entry.platform) == {"os": "linux", "architecture": "amd64"}
    arm = BaseImage(platform={"os": "linux", "architecture": "arm64", "variant": "v8"})
    both = compose(plan_of(manifest, layers, AMD64, arm), digests)
    assert both.index is not None
    assert both.entry.digest == Digest.of(both.index)
    assert both.platforms == ("linux/amd64", "linux/arm64/v8")
    assert both.manifests[0] == single.manifests[0]
    # The same blobs for both; each in the order of the layers.
    documents = [json.loads(data) for data in both.manifests]
    assert documents[0]["layers"] == documents[1]["layers"]
    assert documents[0]["layers"][0]["annotations"]["thoth-models.layer"] == "mini/onnx-fp32"
    assert json.loads(both.configs[1])["variant"] == "v8"


def test_more_layers_than_engines_can_stack(layers: tuple[Layer, ...]) -> None:
    layer = Descriptor(media_type="x", digest=ONE, size=1)
    fits = Base(images=(BaseImage(platform={}, layers=(layer,) * (127 - len(layers))),))
    refuse_many_layers(fits, layers)
    with pytest.raises(UsageError, match="expected at most 127 layers, which is what engines can stack, found 128"):
        refuse_many_layers(fits, (*layers, layers[0]))
