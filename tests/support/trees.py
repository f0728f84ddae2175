"""Verified files of no particular meaning, to make bundle trees of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.bundle.digest import ContentDigest, hash_file
from thoth_models.bundle.manifest import Manifest
from thoth_models_builder.bundle import write_tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"mini/source/model.safetensors": b"weights", "mini/source/1_Pooling/config.json": b"{}", "mini/a/b/c": b""}


class Objects:
    """Verified files as a store has them, and the manifest of a bundle of them."""

    def __init__(self, root: Path, files: dict[str, bytes] | None = None) -> None:
        self.root = root
        root.mkdir(parents=True)
        digests: dict[str, ContentDigest] = {}
        for path, data in (FILES if files is None else files).items():
            place = self.locate(path)
            place.write_bytes(data)
            place.chmod(0o444)
            with place.open("rb") as file:
                digests[path] = hash_file(file)
        self.manifest = Manifest(name="test-bundle", default=None, models={}, files=digests)

    def locate(self, path: str) -> Path:
        return self.root / path.replace("/", "-")


def write(objects: Objects, output: Path, *, link: bool = False) -> None:
    write_tree.write_bundle(objects.manifest, objects.locate, output, link=link)
