"""``manifest.json``: frozen types, and their canonical form as JSON.

Pure: bytes in, values out. A manifest that parses is internally consistent (every file of a variant is listed, every
alternate and the default exist, names and aliases are unique) and canonical, so the sha256 of its bytes, the *bundle
digest*, identifies its content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from thoth_models.bundle.canonical_json import FormatError, Node, canonical_json, parse_json, safe_path
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.bundle.model import (
    Alternate,
    BuildRecord,
    BuiltModel,
    ConfiguredFile,
    Model,
    Origin,
    Variant,
    read_name,
)
from thoth_models.errors import ManifestError
from thoth_models.info import MAX_RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHECKSUMS_NAME",
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "Alternate",
    "BuildRecord",
    "BuiltModel",
    "ConfiguredFile",
    "Manifest",
    "Model",
    "Origin",
    "Variant",
]

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
CHECKSUMS_NAME = "SHA256SUMS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The description of a bundle.

    Attributes:
        name: Name of the bundle.
        default: Model that answers if a call names none, or None.
        models: By name.
        files: Digest and size of every file except the manifest and the checksum list, by path below the bundle root.
        release: Number of the release, from 1; a later one has a larger number. None if models.yaml states none; the
            JSON then has no such key, so the bytes are those of earlier releases of the format.
    """

    name: str
    default: str | None
    models: Mapping[str, Model]
    files: Mapping[str, ContentDigest]
    release: int | None = None

    def names(self) -> dict[str, str]:
        """Return the model that each name and alias stands for."""
        known = {name: name for name in self.models}
        for model in self.models.values():
            known.update(dict.fromkeys(model.aliases, model.name))
        return known

    def to_bytes(self) -> bytes:
        """Return the canonical JSON, which ends with a newline."""
        return canonical_json(self.to_document())

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        bundle: dict[str, object] = {"name": self.name, "default": self.default}
        if self.release is not None:
            bundle["release"] = self.release
        return {
            "version": FORMAT_VERSION,
            "bundle": bundle,
            "models": {name: model.to_document() for name, model in self.models.items()},
            "files": {path: content.to_document() for path, content in self.files.items()},
        }

    @classmethod
    def from_node(cls, root: Node) -> Self:
        """Read the JSON value."""
        keys = root.members("version", "bundle", "models", "files")
        keys["version"].one_of(FORMAT_VERSION)
        files = {_file_path(node): ContentDigest.from_node(node) for node in keys["files"].mapping()}
        models = {node.key: Model.from_node(node, files) for node in keys["models"].mapping()}
        bundle = keys["bundle"].members("name", "default", optional=("release",))
        _check_tree(keys["files"], files)
        _check_names(keys["models"], models)
        return cls(
            name=read_name(bundle["name"]),
            default=None if bundle["default"].value is None else _reference(bundle["default"], models),
            models=models,
            files=files,
            release=_release(bundle["release"]) if "release" in bundle else None,
        )

    def checksums(self) -> bytes:
        """Return the bytes of ``SHA256SUMS``: every other file, sorted, in the format of ``sha256sum``."""
        digests = {path: content.sha256 for path, content in self.files.items()}
        digests[MANIFEST_NAME] = Digest.of(self.to_bytes())
        return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse canonical JSON.

        Raises:
            ManifestError: The bytes are not JSON, a key is missing, unknown or of another type, a reference has no
                target, or the form is not canonical. The message names the key path.
        """
        try:
            manifest = cls.from_node(parse_json(data))
        except FormatError as error:
            raise ManifestError(f"{MANIFEST_NAME}: {error}") from error
        if manifest.to_bytes() != data:
            raise ManifestError(
                f"{MANIFEST_NAME}: expected canonical JSON (sorted keys, no spaces), found another spelling"
            )
        return manifest


def _release(node: Node) -> int:
    release = node.integer(minimum=1)
    if release > MAX_RELEASE:
        raise node.wrong(f"an integer of at most {MAX_RELEASE}")
    return release


def _reference(node: Node, models: Mapping[str, Model]) -> str:
    name = node.text()
    if name not in models:
        raise node.wrong(f"the name of a model of this bundle ({', '.join(sorted(models)) or 'none'})")
    return name


def _file_path(node: Node) -> str:
    path = safe_path(node.key_node())
    if path in (MANIFEST_NAME, CHECKSUMS_NAME):
        raise node.key_node().wrong("a path other than those of the manifest and the checksum list")
    return path


def _check_tree(node: Node, files: Mapping[str, ContentDigest]) -> None:
    for path in files:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (parent := "/".join(parts[:depth])) in files:
                raise node.wrong("files and directories of different names", found=f"{parent!r} as both")


def _check_names(node: Node, models: Mapping[str, Model]) -> None:
    seen = set(models)
    for model in models.values():
        for alias in model.aliases:
            if alias in seen:
                raise node.wrong("each name and alias once", found=f"{alias!r} twice")
            seen.add(alias)
        for alternate in model.alternates:
            if alternate.model not in models:
                raise node.wrong("alternates that are models of this bundle", found=repr(alternate.model))
