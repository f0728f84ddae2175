"""The documents of an image: configuration, manifest and index, as bytes that follow from what they say. Pure.

By https://github.com/opencontainers/image-spec; ``Healthcheck`` is Docker's own addition to the configuration.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thoth_models.digest import Digest
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.descriptors import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from thoth_models_builder.oci.tar import LATEST_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.manifest import Manifest
    from thoth_models_builder.oci.layers import Layer

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"

PREFIX = "thoth-models"
BUNDLE_DIGEST = f"{PREFIX}.bundle-digest"
SET_DIGEST = f"{PREFIX}.set-digest"

STANDARD = "org.opencontainers.image"
TITLE, DESCRIPTION, VERSION = f"{STANDARD}.title", f"{STANDARD}.description", f"{STANDARD}.version"
LICENSES, CREATED = f"{STANDARD}.licenses", f"{STANDARD}.created"
SOURCE, REVISION = f"{STANDARD}.source", f"{STANDARD}.revision"
BASE_DIGEST, BASE_NAME = f"{STANDARD}.base.digest", f"{STANDARD}.base.name"
REFERENCE_NAME = f"{STANDARD}.ref.name"

MOST_LAYERS = 127
"""What Docker's storage drivers can stack."""

USER = "65532:65532"
"""Nobody in particular, by the number that distroless images made common; a number, so that no user database is needed
and Kubernetes can see that it is not root."""

_SECOND = 1_000_000_000
_HEALTHCHECK = {
    "Test": ["CMD", "thoth-models", "doctor", "--quick"],
    "Interval": 30 * _SECOND,
    "Timeout": 20 * _SECOND,
    "StartPeriod": 60 * _SECOND,
    "Retries": 3,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Created:
    """The time that everything in an image has.

    Attributes:
        seconds: Since 1970.
        is_stated: Whether it was asked for; an image only says when it was made if somebody said so.
    """

    seconds: int = 0
    is_stated: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Created:
        """Read ``SOURCE_DATE_EPOCH``; 0 where it is not set. See https://reproducible-builds.org/specs/source-date-epoch/.

        Raises:
            UsageError: It is not a number of seconds that an archive can hold.
        """
        text = environment.get(EPOCH_VARIABLE)
        if not text:
            return cls()
        if not (text.isascii() and text.isdigit()) or int(text) > LATEST_TIME:
            raise UsageError(
                f"{EPOCH_VARIABLE}: expected seconds since 1970, from 0 to {LATEST_TIME}, found {text!r:.80}"
            )
        return cls(seconds=int(text), is_stated=True)

    def __str__(self) -> str:
        """Return the time by RFC 3339."""
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """What layers are put on: an image for one platform, or nothing.

    Attributes:
        platform: ``os``, ``architecture``, and ``variant`` and ``os.version`` where they matter.
        config: Its configuration; empty for nothing.
        layers: As its manifest has them.
        digest: Of its manifest, or None for nothing.
    """

    platform: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[Descriptor, ...] = ()
    digest: Digest | None = None

    @property
    def is_scratch(self) -> bool:
        """Whether it is nothing."""
        return self.digest is None


def encode(document: object) -> bytes:
    """Return JSON in its one spelling: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def labels(
    manifest: Manifest, bundle_digest: Digest, set_digest: Digest, created: Created, more: Mapping[str, str]
) -> dict[str, str]:
    """Return what an image says of the bundle in it; ``more`` is what the caller knows besides, and decides."""
    built = {name: model.built for name, model in sorted(manifest.models.items()) if model.built is not None}
    licenses = sorted({model.license for model in built.values() if model.license})
    found = {
        TITLE: manifest.name,
        DESCRIPTION: f"Embedding models, verified: {', '.join(built) or 'none'}",
        VERSION: bundle_digest.short,
        BUNDLE_DIGEST: f"sha256:{bundle_digest}",
        SET_DIGEST: f"sha256:{set_digest}",
        f"{PREFIX}.models": " ".join(built),
    }
    if manifest.default is not None:
        found[f"{PREFIX}.default"] = manifest.default
    if licenses:
        # As expressions, so that one that is itself a choice stays one.
        found[LICENSES] = " AND ".join(f"({name})" if " " in name else name for name in licenses)
    for name, model in built.items():
        found[f"{PREFIX}.model.{name}.space"] = f"sha256:{model.space}"
        found[f"{PREFIX}.model.{name}.variants"] = " ".join(variant.name for variant in model.variants)
        found[f"{PREFIX}.model.{name}.license"] = model.license or "not stated"
        found[f"{PREFIX}.model.{name}.origin"] = "@".join(
            part for part in (f"{model.origin.kind}:{model.origin.id}", model.origin.revision) if part
        )
    if created.is_stated:
        found[CREATED] = str(created)
    return {**found, **more}


def as_annotations(texts: Mapping[str, str]) -> dict[str, str]:
    """Return those labels that manifests and indexes carry too, where registries show them."""
    return {
        name: text
        for name, text in texts.items()
        if name.startswith(f"{STANDARD}.") or name in (BUNDLE_DIGEST, SET_DIGEST)
    }


def make_config(
    base: BaseImage, layers: Sequence[tuple[Layer, Digest]], texts: Mapping[str, str], created: Created, root: str
) -> bytes:
    """Return the configuration of an image.

    Args:
        base: What the layers are put on.
        layers: Each with the digest of its archive, the lowest first.
        texts: Labels.
        created: When.
        root: Where the bundle is in the image.
    """
    document = dict(base.config)
    settings = dict(document.get("config") or {})
    # What a base says of its own source, version or time, or of the bundle in it, would be wrong of this image.
    inherited = settings.get("Labels") or {}
    kept = {name: text for name, text in inherited.items() if not name.startswith((f"{STANDARD}.", f"{PREFIX}."))}
    settings["Labels"] = {**kept, **texts}
    if not base.is_scratch:
        settings["User"] = USER
        settings["Env"] = _environment(settings.get("Env") or [], root)
        settings["Healthcheck"] = _HEALTHCHECK
    before = list((document.get("rootfs") or {}).get("diff_ids") or [])
    document |= {name: base.platform[name] for name in ("os", "architecture", "variant") if name in base.platform}
    document |= {
        "created": str(created),
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [*before, *(f"sha256:{digest}" for _, digest in layers)]},
        "history": [
            *_history(list(document.get("history") or []), len(before)),
            *(
                {"created": str(created), "created_by": f"thoth-bundle image: {layer.name}", "comment": _comment(layer)}
                for layer, _ in layers
            ),
        ],
    }
    # What Docker notes of the container that an image was made in says nothing of this one.
    for name in ("container", "container_config", "docker_version", "parent", "id"):
        document.pop(name, None)
    return encode(document)


def make_manifest(config: bytes, layers: Sequence[Descriptor], texts: Mapping[str, str]) -> bytes:
    """Return the manifest of an image; all of its ``layers``, the lowest first."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor(media_type=OCI_CONFIG, digest=Digest.of(config), size=len(config)).as_json(),
            "layers": [layer.as_json() for layer in layers],
            "annotations": dict(texts),
        }
    )


def make_index(manifests: Sequence[tuple[bytes, Mapping[str, str]]], texts: Mapping[str, str]) -> bytes:
    """Return the index of the images for several platforms: each manifest with its platform."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [document_descriptor(data, OCI_MANIFEST, platform).as_json() for data, platform in manifests],
            "annotations": dict(texts),
        }
    )


def document_descriptor(
    data: bytes, media_type: str, platform: Mapping[str, str] | None = None, texts: Mapping[str, str] | None = None
) -> Descriptor:
    """Return what points to a document."""
    return Descriptor(
        media_type=media_type, digest=Digest.of(data), size=len(data), platform=platform or {}, annotations=texts or {}
    )


def _environment(before: Sequence[str], root: str) -> list[str]:
    ours = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.32 on Linux calls home where nobody says otherwise
        "THOTH_MODELS_DIR": root,
    }
    kept = [entry for entry in before if entry.partition("=")[0] not in ours]
    return [*kept, *(f"{name}={value}" for name, value in ours.items())]


def _history(before: list[Any], count: int) -> list[Any]:
    """Return the history of a base with one entry for each of its ``count`` layers, as tools that pair them expect."""
    told = sum(1 for entry in before if isinstance(entry, dict) and not entry.get("empty_layer"))
    return [*before, *({"created_by": "the base image"} for _ in range(count - told))]


def _comment(layer: Layer) -> str:
    count = len(layer.files)
    return f"{count} file{'' if count == 1 else 's'} of the bundle" if layer.kind != "runtime" else f"{count} wheels"
