"""Compose all documents of an image or artifact from its layers, for each platform. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from thoth_models.process.environment import DIGEST_VARIABLE, ROOT_VARIABLE, TRUST_POLICY_VARIABLE, TRUST_VARIABLE
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci import image_config as image
from thoth_models_builder.oci import modelpack
from thoth_models_builder.oci.descriptors import OCI_INDEX, OCI_MANIFEST, Descriptor, platform_name, unique
from thoth_models_builder.oci.layers import TRUST_ROOT, layer_descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.oci.image_config import BaseImage, Created
    from thoth_models_builder.oci.layers import Layer

Format = Literal["image", "modelpack"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The base that layers are put on.

    Attributes:
        images: One per platform; without a base, they have a platform and nothing else.
        layout: Layout with the blobs of its layers, or None.
        is_temporary: Whether the layout was written by this run, so that its blobs are verified and may be moved.
        name: Reference of the base in its registry, or None.
        is_from_engine: Whether it comes from a Docker engine; registries do not know its digest.
    """

    images: tuple[BaseImage, ...]
    layout: Path | None = None
    is_temporary: bool = False
    name: str | None = None
    is_from_engine: bool = False

    @property
    def layers(self) -> list[Descriptor]:
        """The layers of all platforms, each once."""
        return unique([layer for base in self.images for layer in base.layers])


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that the documents depend on, except the digests of the layers.

    Attributes:
        format: Image or artifact.
        manifest: Manifest of the bundle.
        bundle_digest: Its digest.
        layers: Layers of the bundle, lowest first.
        base: Base that the layers are put on.
        texts: Labels.
        created: Time of creation.
        root: Path of the bundle in the image.
    """

    format: Format
    manifest: Manifest
    bundle_digest: Digest
    layers: tuple[Layer, ...]
    base: Base
    texts: Mapping[str, str]
    created: Created
    root: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """The documents of an image.

    Attributes:
        configs: Configuration for each platform; one for an artifact.
        manifests: Manifest for each platform; one for an artifact.
        platforms: Name of each platform; empty for an artifact.
        index: Index of the manifests; None if there is only one manifest.
        entry: Descriptor of the image in index.json of a layout.
        layers: Every layer, including those of the base, each once.
    """

    configs: tuple[bytes, ...]
    manifests: tuple[bytes, ...]
    platforms: tuple[str, ...]
    index: bytes | None
    entry: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Every document, each after the ones that it refers to."""
        return (*self.configs, *self.manifests, *(() if self.index is None else (self.index,)))


def refuse_many_layers(base: Base, layers: Sequence[Layer]) -> None:
    """Check that engines can stack all layers.

    Raises:
        UsageError: There are too many layers.
    """
    most = max(len(image_.layers) for image_ in base.images) + len(layers)
    if most > image.MAX_LAYERS:
        raise UsageError(f"expected at most {image.MAX_LAYERS} layers, which is what engines can stack, found {most}")


def refuse_bundle(base: Base, ours: Digest) -> None:
    """Check that the base has no other bundle: its remaining files would fail verification.

    Raises:
        UsageError: The base has another bundle.
    """
    for one in base.images:
        settings = one.config.get("config")
        texts = settings.get("Labels") if isinstance(settings, dict) else None
        found = texts.get(image.BUNDLE_DIGEST) if isinstance(texts, dict) else None
        if found not in (None, f"sha256:{ours}"):
            raise UsageError(f"expected a base without another bundle, found one with {found!r:.100}")


def config_for(plan: Plan, base: BaseImage, digests: Sequence[Digest]) -> bytes:
    """Return the configuration for one platform."""
    pairs = list(zip(plan.layers, digests, strict=True))
    # The digest, so that another bundle in a volume mounted over it is refused.
    bundle = {ROOT_VARIABLE: plan.root, DIGEST_VARIABLE: plan.bundle_digest.hex}
    if any(layer.kind == "trust" for layer in plan.layers):
        # The policy too, so that one of the base does not switch it off.
        bundle |= {TRUST_VARIABLE: TRUST_ROOT, TRUST_POLICY_VARIABLE: "require"}
    return image.make_config(base, pairs, _texts(plan, base), plan.created, bundle)


def compose(plan: Plan, digests: Sequence[Digest]) -> Composed:
    """Return all documents of an image, given the digest of each layer of ``plan``."""
    pairs = list(zip(plan.layers, digests, strict=True))
    if plan.format == "modelpack":
        return _artifact(plan, pairs)
    ours = [layer_descriptor(layer, digest) for layer, digest in pairs]
    configs, manifests = [], []
    for base in plan.base.images:
        config = config_for(plan, base, digests)
        configs.append(config)
        texts = image.as_annotations(_texts(plan, base))
        manifests.append(image.make_manifest(config, [*base.layers, *ours], texts))
    platforms = [base.platform for base in plan.base.images]
    texts = image.as_annotations(plan.texts)
    if len(manifests) == 1:
        index, entry = None, image.document_descriptor(manifests[0], OCI_MANIFEST, platforms[0], texts)
    else:
        index = image.make_index(list(zip(manifests, platforms, strict=True)), texts)
        entry = image.document_descriptor(index, OCI_INDEX, None, texts)
    return Composed(
        configs=tuple(configs),
        manifests=tuple(manifests),
        platforms=tuple(platform_name(platform) for platform in platforms),
        index=index,
        entry=entry,
        layers=tuple(unique([*plan.base.layers, *ours])),
    )


def _artifact(plan: Plan, pairs: Sequence[tuple[Layer, Digest]]) -> Composed:
    texts = image.as_annotations(plan.texts)
    config = modelpack.make_config(plan.manifest, pairs, plan.texts, plan.created)
    manifest = modelpack.make_manifest(plan.manifest, config, pairs, texts)
    return Composed(
        configs=(config,),
        manifests=(manifest,),
        platforms=(),
        index=None,
        entry=image.document_descriptor(manifest, OCI_MANIFEST, None, texts),
        layers=tuple(unique([layer_descriptor(layer, digest) for layer, digest in pairs])),
    )


def named(composed: Composed, tag: str) -> Descriptor:
    """Return the entry of index.json with a reference name."""
    return replace(composed.entry, annotations={**composed.entry.annotations, image.REFERENCE_NAME: tag})


def _texts(plan: Plan, base: BaseImage) -> dict[str, str]:
    texts = dict(plan.texts)
    if base.digest is not None and not plan.base.is_from_engine:
        texts.setdefault(image.BASE_DIGEST, f"sha256:{base.digest}")
    if plan.base.name is not None:
        texts.setdefault(image.BASE_NAME, plan.base.name)
    return texts
