"""``manifest.json``: frozen types, and their one canonical spelling as JSON.

Pure: bytes in, values out. A manifest that parses is internally consistent (every file that a variant names is listed,
every alternate and the default exist, names and aliases are unique) and is spelled canonically, so the sha256 of its
bytes, the *bundle digest*, identifies what it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models.accuracy import accuracy_document, read_accuracy
from thoth_models.canonical import FormatError, Node, canonical_json, parse_json, safe_path
from thoth_models.digest import CHUNK_SIZE, CHUNKED_ABOVE, ContentDigest, Digest
from thoth_models.errors import ManifestError
from thoth_models.models import Alternate, BuiltModel, Model, Origin, Proof, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHECKSUMS_NAME",
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "Alternate",
    "BuiltModel",
    "Manifest",
    "Model",
    "Origin",
    "Proof",
    "Variant",
]

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
CHECKSUMS_NAME = "SHA256SUMS"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All that a bundle says of itself.

    Attributes:
        name: Name of the bundle.
        default: Model that answers when no name is asked for, or None.
        models: By name.
        files: Content of every file but the manifest and the checksum list, by path below the bundle root.
    """

    name: str
    default: str | None
    models: Mapping[str, Model]
    files: Mapping[str, ContentDigest]

    def names(self) -> dict[str, str]:
        """Return the model that each name and alias stands for."""
        known = {name: name for name in self.models}
        for model in self.models.values():
            known.update(dict.fromkeys(model.aliases, model.name))
        return known

    def to_bytes(self) -> bytes:
        """Return the canonical JSON, which ends with a newline."""
        return canonical_json(_document(self))

    def checksums(self) -> bytes:
        """Return the bytes of ``SHA256SUMS``: every file but itself, sorted, in the format of ``sha256sum``."""
        digests = {path: content.sha256 for path, content in self.files.items()}
        digests[MANIFEST_NAME] = Digest.of(self.to_bytes())
        return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Parse canonical JSON.

        Raises:
            ManifestError: It is not JSON, a key is missing, unknown or of another type, a reference leads nowhere, or
                the spelling is not the canonical one. The message names the key path.
        """
        try:
            manifest = _manifest(parse_json(data))
        except FormatError as error:
            raise ManifestError(f"{MANIFEST_NAME}: {error}") from error
        if manifest.to_bytes() != data:
            raise ManifestError(
                f"{MANIFEST_NAME}: expected canonical JSON (sorted keys, no spaces), found another spelling"
            )
        return manifest


# --- to JSON ---


def _document(manifest: Manifest) -> dict[str, object]:
    return {
        "version": FORMAT_VERSION,
        "bundle": {"name": manifest.name, "default": manifest.default},
        "models": {name: _model_document(model) for name, model in manifest.models.items()},
        "files": {path: _content_document(content) for path, content in manifest.files.items()},
    }


def _content_document(content: ContentDigest) -> dict[str, object]:
    document: dict[str, object] = {"size": content.size, "sha256": content.sha256.hex}
    if content.chunks:
        document["chunks"] = {"size": CHUNK_SIZE, "sha256": [chunk.hex for chunk in content.chunks]}
    return document


def _model_document(model: Model) -> dict[str, object]:
    return {
        "aliases": list(model.aliases),
        "alternates": [
            {"model": alternate.model, "other_space": "accept" if alternate.accepts_other_space else "refuse"}
            for alternate in model.alternates
        ],
        "dimension": model.dimension,
        "built": None if model.built is None else _built_document(model.built),
    }


def _built_document(built: BuiltModel) -> dict[str, object]:
    return {
        "origin": {"kind": built.origin.kind, "id": built.origin.id, "revision": built.origin.revision},
        "license": built.license,
        "max_seq_length": built.max_seq_length,
        "pooling": built.pooling,
        "normalize": built.normalize,
        "similarity": built.similarity,
        "prompts": dict(built.prompts),
        "default_prompt_name": built.default_prompt_name,
        "space": built.space.hex,
        "variants": [
            {
                "name": variant.name,
                "backend": variant.backend,
                "precision": variant.precision,
                "directory": variant.directory,
                "files": list(variant.files),
                "accuracy": None if variant.accuracy is None else accuracy_document(variant.accuracy),
            }
            for variant in built.variants
        ],
        "proof": None
        if built.proof is None
        else {
            "golden": built.proof.golden,
            "derivation": built.proof.derivation.hex,
            "toolchain": dict(built.proof.toolchain),
            "omitted": dict(built.proof.omitted),
        },
    }


# --- from JSON ---


def _manifest(root: Node) -> Manifest:
    keys = root.table("version", "bundle", "models", "files")
    keys["version"].one_of(FORMAT_VERSION)
    files = {_file_path(node): _content(node) for node in keys["files"].entries()}
    models = {_name(node.key_node()): _model(node, files) for node in keys["models"].entries()}
    bundle = keys["bundle"].table("name", "default")
    manifest = Manifest(
        name=_name(bundle["name"]),
        default=_reference(bundle["default"], models) if bundle["default"].value is not None else None,
        models=models,
        files=files,
    )
    _check_tree(keys["files"], files)
    _check_names(keys["models"], models)
    return manifest


def _name(node: Node) -> str:
    return node.matching(_NAME, "a name of lower-case letters, digits and hyphens, at most 63 long")


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


def _content(node: Node) -> ContentDigest:
    keys = node.table("size", "sha256", optional=("chunks",))
    size = keys["size"].integer(minimum=0)
    chunks: tuple[Digest, ...] = ()
    if "chunks" in keys:
        chunk_keys = keys["chunks"].table("size", "sha256")
        chunk_keys["size"].one_of(CHUNK_SIZE)
        chunks = tuple(item.digest() for item in chunk_keys["sha256"].items())
    expected = -(-size // CHUNK_SIZE) if size > CHUNKED_ABOVE else 0
    if len(chunks) != expected:
        raise node.wrong(f"{expected} chunk digests for {size} bytes", found=f"{len(chunks)}")
    return ContentDigest(size=size, sha256=keys["sha256"].digest(), chunks=chunks)


def _model(node: Node, files: Mapping[str, ContentDigest]) -> Model:
    keys = node.table("aliases", "alternates", "dimension", "built")
    return Model(
        name=node.key,
        aliases=keys["aliases"].sorted_unique(Node.text),
        alternates=tuple(_alternate(item) for item in keys["alternates"].items()),
        dimension=keys["dimension"].integer(minimum=1),
        built=None if keys["built"].value is None else _built(keys["built"], files),
    )


def _alternate(node: Node) -> Alternate:
    keys = node.table("model", "other_space")
    return Alternate(
        model=_name(keys["model"]), accepts_other_space=keys["other_space"].one_of("accept", "refuse") == "accept"
    )


def _built(node: Node, files: Mapping[str, ContentDigest]) -> BuiltModel:
    keys = node.table(
        "origin",
        "license",
        "max_seq_length",
        "pooling",
        "normalize",
        "similarity",
        "prompts",
        "default_prompt_name",
        "space",
        "variants",
        "proof",
    )
    prompts = {entry.key: entry.text() for entry in keys["prompts"].entries()}
    default_prompt_name = keys["default_prompt_name"].optional_text()
    if default_prompt_name is not None and default_prompt_name not in prompts:
        raise keys["default_prompt_name"].wrong("the name of a prompt of this model")
    variants = tuple(_variant(item, files) for item in keys["variants"].items())
    if keys["proof"].value is None and any(variant.accuracy is not None for variant in variants):
        raise keys["proof"].wrong("the golden vectors that the variants were measured against")
    if not variants or len({variant.name for variant in variants}) != len(variants):
        raise keys["variants"].wrong("at least one variant, each name once")
    origin = keys["origin"].table("kind", "id", "revision")
    return BuiltModel(
        origin=Origin(
            kind=origin["kind"].one_of("hub", "wheel", "directory"),
            id=origin["id"].text(),
            revision=origin["revision"].optional_text(),
        ),
        license=keys["license"].optional_text(),
        max_seq_length=None if keys["max_seq_length"].value is None else keys["max_seq_length"].integer(minimum=1),
        pooling=keys["pooling"].text(),
        normalize=keys["normalize"].boolean(),
        similarity=keys["similarity"].one_of("cosine", "dot", "euclidean", "manhattan"),
        prompts=prompts,
        default_prompt_name=default_prompt_name,
        space=keys["space"].digest(),
        variants=variants,
        proof=None if keys["proof"].value is None else _proof(keys["proof"], files),
    )


def _proof(node: Node, files: Mapping[str, ContentDigest]) -> Proof:
    keys = node.table("golden", "derivation", "toolchain", "omitted")
    golden = safe_path(keys["golden"])
    if golden not in files:
        raise keys["golden"].wrong("a path that `files` lists")
    return Proof(
        golden=golden,
        derivation=keys["derivation"].digest(),
        toolchain={entry.key: entry.text() for entry in keys["toolchain"].entries()},
        omitted={entry.key: entry.text() for entry in keys["omitted"].entries()},
    )


def _variant(node: Node, files: Mapping[str, ContentDigest]) -> Variant:
    keys = node.table("name", "backend", "precision", "directory", "files", "accuracy")
    directory = safe_path(keys["directory"])
    paths = keys["files"].sorted_unique(safe_path)
    for path in paths:
        if path not in files:
            raise keys["files"].wrong("paths that `files` lists", found=repr(path))
        if not path.startswith(f"{directory}/"):
            raise keys["files"].wrong(f"paths below {directory!r}", found=repr(path))
    if not paths:
        raise keys["files"].wrong("at least one path")
    return Variant(
        name=_name(keys["name"]),
        backend=keys["backend"].text(),
        precision=keys["precision"].text(),
        directory=directory,
        files=paths,
        accuracy=None if keys["accuracy"].value is None else read_accuracy(keys["accuracy"]),
    )


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
