"""Small image layouts, made by hand: what is tested with them shares no code with what makes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o444
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def put_blob(layout: Path, data: bytes, media_type: str) -> dict[str, Any]:
    directory = layout / "blobs/sha256"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / sha256(data)).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{sha256(data)}", "size": len(data)}


def put_json(layout: Path, document: dict[str, Any], media_type: str) -> dict[str, Any]:
    # Not canonical on purpose: a client that writes JSON anew changes these bytes.
    return put_blob(layout, json.dumps(document, indent=3).encode() + b"\n", media_type)


def put_image(
    layout: Path,
    layers: Sequence[bytes],
    *,
    architecture: str = "amd64",
    manifest_type: str = MANIFEST,
    config_type: str = CONFIG,
    layer_type: str = LAYER,
) -> dict[str, Any]:
    plain = [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {"made": "by hand"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in plain]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": put_json(layout, config, config_type),
        "layers": [put_blob(layout, layer, layer_type) for layer in layers],
    }
    return put_json(layout, manifest, manifest_type)


def finish(layout: Path, *entries: dict[str, Any]) -> Path:
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(entries)}))
    return layout


def write_image(layout: Path, *layers: bytes, **options: Any) -> str:
    """Write a layout with one image and return the digest of its manifest, as ``sha256:…``."""
    entry = put_image(layout, layers or (tar({"models/a": b"a" * 1000}), tar({"models/b": b"b" * 2000})), **options)
    finish(layout, entry)
    return str(entry["digest"])


def write_two_platforms(layout: Path, **extra: Any) -> str:
    """Write a layout with an index of two images that share a layer, and return the digest of the index."""
    shared = tar({"shared": b"the same for both"})
    entries = []
    for architecture in ("amd64", "arm64"):
        own = tar({"own": architecture.encode()})
        entry = put_image(layout, [shared, own], architecture=architecture)
        entries.append({**entry, "platform": {"architecture": architecture, "os": "linux"}})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **extra}
    entry = put_json(layout, index, INDEX)
    finish(layout, entry)
    return str(entry["digest"])


def blobs(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}


def flip(path: Path) -> None:
    """Change one byte of a file, and nothing else."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
