"""The documents of an image: configuration, manifest and index, as deterministic bytes. Pure.

By https://github.com/opencontainers/image-spec; ``Healthcheck`` is Docker's own addition to the configuration.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.descriptors import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from thoth_models_builder.oci.tar_headers import LATEST_TIME
from thoth_models_builder.spec.licences.names import joined_spdx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.bundle.manifest import Manifest
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

MAX_LAYERS = 127
"""Number of layers that the storage drivers of Docker can stack."""

USER = "65532:65532"
"""An unprivileged user, by the number that distroless images use; a number needs no user database, and lets Kubernetes
see that it is not root."""

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
    """The time of everything in an image.

    Attributes:
        seconds: Seconds since 1970.
        is_stated: Whether the environment states it; only then does the image carry a time of creation.
    """

    seconds: int = 0
    is_stated: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Created:
        """Read ``SOURCE_DATE_EPOCH``; 0 if it is not set. See https://reproducible-builds.org/specs/source-date-epoch/.

        Raises:
            UsageError: The value is not a number of seconds that fits an archive.
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
        """Return the time in the format of RFC 3339."""
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """The base image for one platform, or an empty base.

    Attributes:
        platform: ``os``, ``architecture``, and ``variant`` and ``os.version`` where the base states them.
        config: Configuration; empty for an empty base.
        layers: Descriptors of the layers, as in its manifest.
        digest: Digest of its manifest; None for an empty base.
    """

    platform: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[Descriptor, ...] = ()
    digest: Digest | None = None

    @property
    def is_scratch(self) -> bool:
        """Whether the base is empty."""
        return self.digest is None


def encode(document: object) -> bytes:
    """Return canonical JSON: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def labels(
    manifest: Manifest, bundle_digest: Digest, set_digest: Digest, created: Created, more: Mapping[str, str]
) -> dict[str, str]:
    """Return the labels that describe the bundle of an image; those in ``more`` are added, or replace them."""
    built = {name: model.built for name, model in sorted(manifest.models.items()) if model.built is not None}
    licenses = {model.license for model in built.values()}
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
    if manifest.release is not None:
        found[f"{PREFIX}.release"] = str(manifest.release)
    if text := joined_spdx(licenses):
        found[LICENSES] = text
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
    """Return the labels that manifests and indexes also carry as annotations, where registries show them."""
    return {
        name: text
        for name, text in texts.items()
        if name.startswith(f"{STANDARD}.") or name in (BUNDLE_DIGEST, SET_DIGEST)
    }


def make_config(
    base: BaseImage,
    layers: Sequence[tuple[Layer, Digest]],
    texts: Mapping[str, str],
    created: Created,
    bundle: Mapping[str, str],
) -> bytes:
    """Return the configuration of an image.

    Args:
        base: Base that the layers are put on.
        layers: Each layer with the digest of its archive, lowest first.
        texts: Labels.
        created: Time of creation.
        bundle: Variables that say where the bundle is, which one, and who must have signed it.
    """
    document = dict(base.config)
    settings = dict(document.get("config") or {})
    # Labels of the base about its own source, version, time or bundle would be wrong for this image.
    inherited = settings.get("Labels") or {}
    kept = {name: text for name, text in inherited.items() if not name.startswith((f"{STANDARD}.", f"{PREFIX}."))}
    settings["Labels"] = {**kept, **texts}
    if not base.is_scratch:
        settings["User"] = USER
        settings["Env"] = _environment(settings.get("Env") or [], bundle)
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
    # Docker adds these about the container that the base was committed from.
    for name in ("container", "container_config", "docker_version", "parent", "id"):
        document.pop(name, None)
    return encode(document)


def make_manifest(config: bytes, layers: Sequence[Descriptor], texts: Mapping[str, str]) -> bytes:
    """Return the manifest of an image with all of its ``layers``, lowest first."""
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
    """Return the index of the manifests for several platforms."""
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
    """Return the descriptor of a document."""
    return Descriptor(
        media_type=media_type, digest=Digest.of(data), size=len(data), platform=platform or {}, annotations=texts or {}
    )


def _environment(before: Sequence[str], bundle: Mapping[str, str]) -> list[str]:
    ours = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.32 on Linux sends telemetry by default
        **bundle,
    }
    kept = [entry for entry in before if entry.partition("=")[0] not in ours]
    return [*kept, *(f"{name}={value}" for name, value in ours.items())]


def _history(before: list[Any], count: int) -> list[Any]:
    """Return the history of a base, completed to one entry for each of its ``count`` layers; tools pair the two."""
    listed = sum(1 for entry in before if isinstance(entry, dict) and not entry.get("empty_layer"))
    return [*before, *({"created_by": "the base image"} for _ in range(count - listed))]


def _comment(layer: Layer) -> str:
    count = len(layer.files)
    if layer.kind in ("signature", "attestations"):
        return f"the {layer.kind} of the bundle"
    if layer.kind == "trust":
        return "whose signatures are accepted"
    return f"{count} file{'' if count == 1 else 's'} of the bundle" if layer.kind != "runtime" else f"{count} wheels"
