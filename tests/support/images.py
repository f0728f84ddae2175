"""Images that tests make and look into: layouts read with the standard library, and small bases to put layers on."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.bundles import invented_model, make_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_OPAQUE = ".wh..wh..opq"


def two_models(root: Path, *, more: Mapping[str, Any] | None = None) -> Manifest:
    """A bundle of two models, one with two variants; ``more`` are further files of the model ``other``."""
    models = [
        invented_model("mini", variants=("onnx-fp32", "torch-fp32")),
        invented_model("other", variants=("torch-fp32",), more=more),
    ]
    return make_bundle(root, models, default="mini")


@dataclass(frozen=True)
class Node:
    """What an unpacked file system has at one path."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: bytes | None


def blob(layout: Path, digest: str) -> bytes:
    """The bytes of a blob, compared with its digest."""
    name = digest.removeprefix("sha256:")
    data = (layout / "blobs" / "sha256" / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == name
    return data


def read_json(layout: Path, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    data = blob(layout, descriptor["digest"])
    assert len(data) == descriptor["size"]
    document: dict[str, Any] = json.loads(data)
    assert document.get("mediaType", descriptor["mediaType"]) == descriptor["mediaType"]
    return document


def entry(layout: Path) -> dict[str, Any]:
    """The one entry of index.json."""
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    (only,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return dict(only)


def manifests(layout: Path) -> list[dict[str, Any]]:
    """The manifest of each platform."""
    top = entry(layout)
    document = read_json(layout, top)
    if top["mediaType"] == INDEX:
        return [read_json(layout, child) for child in document["manifests"]]
    return [document]


def configs(layout: Path) -> list[dict[str, Any]]:
    return [read_json(layout, manifest["config"]) for manifest in manifests(layout)]


def layers(layout: Path) -> dict[str, str]:
    """The digest of each of our layers, by its name, in the order of the first manifest."""
    return {
        layer["annotations"]["thoth-models.layer"]: layer["digest"]
        for layer in manifests(layout)[0]["layers"]
        if "annotations" in layer
    }


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as file:
        return file.getmembers()


def unpacked(archives: Sequence[bytes]) -> dict[str, Node]:
    """What is there after unpacking layers over each other."""
    nodes: dict[str, Node] = {}
    for archive in archives:
        data = gzip.decompress(archive) if archive.startswith(b"\x1f\x8b") else archive
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as file:
            members = file.getmembers()
            # What a layer itself has stays, in whichever order it comes.
            emptied = tuple(member.name.removesuffix(_OPAQUE) for member in members if member.name.endswith(_OPAQUE))
            nodes = {path: node for path, node in nodes.items() if not path.startswith(emptied)}
            for member in [member for member in members if not member.name.endswith(_OPAQUE)]:
                opened = file.extractfile(member) if member.isfile() else None
                nodes[member.name] = Node(
                    kind="directory" if member.isdir() else "file" if member.isfile() else "other",
                    mode=member.mode & 0o7777,  # engines export the kind in it too
                    owner=(member.uid, member.gid),
                    mtime=int(member.mtime),
                    content=None if opened is None else opened.read(),
                )
    return nodes


def on_disk(root: Path, prefix: str) -> dict[str, tuple[str, int, bytes | None]]:
    """Kind, mode and content of everything below a directory, and of itself."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        relative = path.relative_to(root).as_posix()
        name = prefix if relative == "." else f"{prefix}/{relative}"
        is_directory = stat.S_ISDIR(status.st_mode)
        found[name] = (
            "directory" if is_directory else "file" if stat.S_ISREG(status.st_mode) else "other",
            stat.S_IMODE(status.st_mode),
            None if is_directory else path.read_bytes(),
        )
    return found


class LayoutMaker:
    """Writes an image layout of somebody else's, document by document."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs" / "sha256").mkdir(parents=True)
        (root / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')

    def add(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    def document(self, document: Mapping[str, Any], media_type: str, **more: Any) -> dict[str, Any]:
        return self.add(json.dumps(document).encode(), media_type, **more)

    def image(
        self,
        architecture: str,
        *,
        layer_type: str = GZIP_LAYER,
        manifest_type: str = MANIFEST,
        config_type: str = CONFIG,
        config: Mapping[str, Any] | None = None,
        **platform: str,
    ) -> dict[str, Any]:
        """An image of one compressed layer with one file."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as file:
            data = f"for {architecture}\n".encode()
            member = tarfile.TarInfo("etc/os-release")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        diff_id = f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}"
        where = {"os": "linux", "architecture": architecture, **platform}
        settings = {
            **where,
            "config": {
                "Env": ["PATH=/usr/bin", "HF_HUB_OFFLINE=0"],
                "Cmd": ["python3"],
                "Labels": {"kept": "yes", "org.opencontainers.image.source": "https://example.org/base"},
                "User": "root",
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True}],
            **(config or {}),
        }
        layer = self.add(gzip.compress(archive.getvalue(), mtime=0), layer_type)
        document = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.document(settings, config_type),
            "layers": [layer],
        }
        return self.document(document, manifest_type, platform=where)

    def index(self, *images: Mapping[str, Any]) -> dict[str, Any]:
        return self.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}, INDEX)

    def finish(self, *entries: Mapping[str, Any]) -> Path:
        (self.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}), encoding="utf-8")
        return self.root


def two_platforms(root: Path) -> Path:
    """A base for two platforms, with compressed layers, and with what its builder attested of one."""
    maker = LayoutMaker(root)
    arm = maker.image("arm64", variant="v8")
    attestation = maker.document(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": maker.document({}, CONFIG), "layers": []},
        MANIFEST,
        platform={"os": "unknown", "architecture": "unknown"},
        annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": arm["digest"]},
    )
    return maker.finish(maker.index(maker.image("amd64"), arm, attestation))


def nothing(_count: int) -> None:
    """Take what is reported of progress that no test looks at."""
