"""The models in a manifest: frozen types, each with the reading and writing of its JSON beside its fields.

Pure. :mod:`thoth_models.bundle.manifest` has the document around them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from thoth_models.bundle.accuracy import Gate
from thoth_models.bundle.canonical_json import Node, safe_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.bundle.digest import ContentDigest, Digest

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


def read_name(node: Node) -> str:
    """Return the name of a bundle, a model or a variant."""
    return node.matching(_NAME, "a name of lower-case letters, digits and hyphens, at most 63 long")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The origin of a model according to the lock, which may differ from the source that a build downloaded it from.

    Attributes:
        kind: ``hub``, ``wheel`` or ``directory``.
        id: Repository id, requirement or path.
        revision: Commit, if the kind has commits.
    """

    kind: str
    id: str
    revision: str | None

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        return {"kind": self.kind, "id": self.id, "revision": self.revision}

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members("kind", "id", "revision")
        return cls(
            kind=keys["kind"].one_of("hub", "wheel", "directory"),
            id=keys["id"].text(),
            revision=keys["revision"].optional_text(),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One runnable form of a model.

    Attributes:
        name: Such as ``torch-fp32``.
        backend: The backend of the runtime that loads it.
        precision: Number format of the weights at run time.
        directory: Directory below the bundle root that is passed to the backend.
        files: Every file that loading reads, as sorted paths below the bundle root.
        gate: The gate that it passed when it was built, or None for a model without golden vectors.
    """

    name: str
    backend: str
    precision: str
    directory: str
    files: tuple[str, ...]
    gate: Gate | None = None

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        return {
            "name": self.name,
            "backend": self.backend,
            "precision": self.precision,
            "directory": self.directory,
            "files": list(self.files),
            "gate": None if self.gate is None else self.gate.to_document(),
        }

    @classmethod
    def from_node(cls, node: Node, listed: Mapping[str, ContentDigest]) -> Self:
        """Read the JSON value; its files must be among those that are ``listed`` in the manifest."""
        keys = node.members("name", "backend", "precision", "directory", "files", "gate")
        directory = safe_path(keys["directory"])
        paths = keys["files"].sorted_unique(safe_path)
        for path in paths:
            if path not in listed:
                raise keys["files"].wrong("paths that `files` lists", found=repr(path))
            if not path.startswith(f"{directory}/"):
                raise keys["files"].wrong(f"paths below {directory!r}", found=repr(path))
        if not paths:
            raise keys["files"].wrong("at least one path")
        return cls(
            name=read_name(keys["name"]),
            backend=keys["backend"].text(),
            precision=keys["precision"].text(),
            directory=directory,
            files=paths,
            gate=None if keys["gate"].value is None else Gate.from_node(keys["gate"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternate:
    """Another model that may answer instead.

    Attributes:
        model: Its name.
        accepts_other_space: Whether it may do so even if its vectors belong to another embedding space.
    """

    model: str
    accepts_other_space: bool

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        return {"model": self.model, "other_space": "accept" if self.accepts_other_space else "refuse"}

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members("model", "other_space")
        return cls(
            model=read_name(keys["model"]),
            accepts_other_space=keys["other_space"].one_of("accept", "refuse") == "accept",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRecord:
    """How the variants of a model were built and measured.

    Attributes:
        golden: Path of the golden vectors below the bundle root, see :mod:`thoth_models.bundle.golden`.
        derivation: Cache key: the digest of everything that decides the derived files (source files, settings,
            toolchain).
        toolchain: Version of each library that took part, by name.
        omitted: Variants of models.yaml that the bundle does not have, each with the reason why it could not be built.
        code: sha256 of each Python file of the model that was reviewed, and run when it was built, by name. The bundle
            has none of them.
        converted: For each file of weights that was made from pickles, by path: the sha256 of it and of each pickle,
            by path.
    """

    golden: str
    derivation: Digest
    toolchain: Mapping[str, str]
    omitted: Mapping[str, str]
    code: Mapping[str, str] = field(default_factory=dict)
    converted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        return {
            "golden": self.golden,
            "derivation": self.derivation.hex,
            "toolchain": dict(self.toolchain),
            "omitted": dict(self.omitted),
            # Left out if empty, so that bundles of other models have the same bytes as before.
            **({"code": dict(self.code)} if self.code else {}),
            **({"converted": {path: dict(made) for path, made in self.converted.items()}} if self.converted else {}),
        }

    @classmethod
    def from_node(cls, node: Node, listed: Mapping[str, ContentDigest]) -> Self:
        """Read the JSON value; the golden vectors must be among the files that are ``listed`` in the manifest."""
        keys = node.members("golden", "derivation", "toolchain", "omitted", optional=("code", "converted"))
        golden = safe_path(keys["golden"])
        if golden not in listed:
            raise keys["golden"].wrong("a path that `files` lists")
        return cls(
            golden=golden,
            derivation=keys["derivation"].digest(),
            toolchain=keys["toolchain"].texts(),
            omitted=keys["omitted"].texts(),
            code=keys["code"].texts() if "code" in keys else {},
            converted={item.key: item.texts() for item in keys["converted"].mapping()} if "converted" in keys else {},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredFile:
    """A source file of a model that the builder changed, added or left out.

    Attributes:
        path: Path in the model's source directory. It is not among the files of a bundle without that directory, nor
            if the file is left out.
        origin: sha256 of the file as its origin has it, or None for a file that was added.
        reasons: What was changed, and why, in words; at least one.
    """

    path: str
    origin: Digest | None
    reasons: tuple[str, ...]

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        origin = None if self.origin is None else self.origin.hex
        return {"path": self.path, "origin": origin, "reasons": list(self.reasons)}

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members("path", "origin", "reasons")
        reasons = tuple(item.text() for item in keys["reasons"].items())
        if not reasons:
            raise keys["reasons"].wrong("at least one reason")
        return cls(
            path=safe_path(keys["path"]),
            origin=None if keys["origin"].value is None else keys["origin"].digest(),
            reasons=reasons,
        )


def _read_configured(node: Node) -> tuple[ConfiguredFile, ...]:
    files = tuple(ConfiguredFile.from_node(item) for item in node.items())
    paths = [file.path for file in files]
    if not files or paths != sorted(set(paths)):
        raise node.wrong("at least one file, sorted by path, each once", found=", ".join(paths) or "none")
    return files


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltModel:
    """A model whose files are in the bundle.

    Attributes:
        origin: Where it comes from.
        license: SPDX-like identifier as published, or None if none was published.
        max_seq_length: Longest input in tokens; longer ones are truncated. None for no limit.
        pooling: How token vectors become one, such as ``mean``; several modes are joined with ``+``.
        normalize: Whether vectors are normalised to unit length unless the caller says otherwise.
        similarity: The similarity function that the model was published for: ``cosine``, ``dot``, ``euclidean`` or
            ``manhattan``.
        prompts: Prompts by name; a prompt is a string that is added before a text.
        default_prompt_name: Name of the prompt that is used if the caller names none, or None.
        space: Identity of the embedding space, see :mod:`thoth_models.bundle.space`.
        variants: In order of preference.
        record: How the variants were built and measured, or None for a model without golden vectors.
        configured: Source files that differ from those of the origin, sorted by path. The JSON has this key only if
            there are any, so manifests of earlier releases have the same form.
        license_link: Where the text of a licence is that the Hub does not know: an address, or a path in the
            repository, as published. The JSON has this key only then.
    """

    origin: Origin
    license: str | None
    max_seq_length: int | None
    pooling: str
    normalize: bool
    similarity: str
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    space: Digest
    variants: tuple[Variant, ...]
    record: BuildRecord | None = None
    configured: tuple[ConfiguredFile, ...] = ()
    license_link: str | None = None

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        document: dict[str, object] = {
            "origin": self.origin.to_document(),
            "license": self.license,
            "max_seq_length": self.max_seq_length,
            "pooling": self.pooling,
            "normalize": self.normalize,
            "similarity": self.similarity,
            "prompts": dict(self.prompts),
            "default_prompt_name": self.default_prompt_name,
            "space": self.space.hex,
            "variants": [variant.to_document() for variant in self.variants],
            "record": None if self.record is None else self.record.to_document(),
        }
        if self.configured:
            document["configured"] = [file.to_document() for file in self.configured]
        if self.license_link is not None:
            document["license_link"] = self.license_link
        return document

    @classmethod
    def from_node(cls, node: Node, listed: Mapping[str, ContentDigest]) -> Self:
        """Read the JSON value; the files of its variants must be among those ``listed`` in the manifest."""
        keys = node.members(
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
            "record",
            optional=("configured", "license_link"),
        )
        length, record = keys["max_seq_length"], keys["record"]
        built = cls(
            origin=Origin.from_node(keys["origin"]),
            license=keys["license"].optional_text(),
            max_seq_length=None if length.value is None else length.integer(minimum=1),
            pooling=keys["pooling"].text(),
            normalize=keys["normalize"].boolean(),
            similarity=keys["similarity"].one_of("cosine", "dot", "euclidean", "manhattan"),
            prompts=keys["prompts"].texts(),
            default_prompt_name=keys["default_prompt_name"].optional_text(),
            space=keys["space"].digest(),
            variants=tuple(Variant.from_node(item, listed) for item in keys["variants"].items()),
            record=None if record.value is None else BuildRecord.from_node(record, listed),
            configured=_read_configured(keys["configured"]) if "configured" in keys else (),
            license_link=keys["license_link"].text() if "license_link" in keys else None,
        )
        if built.default_prompt_name is not None and built.default_prompt_name not in built.prompts:
            raise keys["default_prompt_name"].wrong("the name of a prompt of this model")
        if built.record is None and any(variant.gate is not None for variant in built.variants):
            raise record.wrong("the golden vectors that the variants were measured against")
        if not built.variants or len({variant.name for variant in built.variants}) != len(built.variants):
            raise keys["variants"].wrong("at least one variant, each name once")
        return built


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One model of models.yaml, whether its files are in the bundle or not.

    Attributes:
        name: Its name.
        aliases: Its other names, sorted.
        alternates: Models that may answer instead, in order of preference.
        dimension: Length of its vectors.
        built: The model's files and settings, or None if it is absent because no source delivered it.
    """

    name: str
    aliases: tuple[str, ...]
    alternates: tuple[Alternate, ...]
    dimension: int
    built: BuiltModel | None

    def to_document(self) -> dict[str, object]:
        """Return the JSON value, without the name, which is its key."""
        return {
            "aliases": list(self.aliases),
            "alternates": [alternate.to_document() for alternate in self.alternates],
            "dimension": self.dimension,
            "built": None if self.built is None else self.built.to_document(),
        }

    @classmethod
    def from_node(cls, node: Node, listed: Mapping[str, ContentDigest]) -> Self:
        """Read the JSON value and its key; the files must be among those ``listed`` in the manifest."""
        name = read_name(node.key_node())
        keys = node.members("aliases", "alternates", "dimension", "built")
        return cls(
            name=name,
            aliases=keys["aliases"].sorted_unique(Node.text),
            alternates=tuple(Alternate.from_node(item) for item in keys["alternates"].items()),
            dimension=keys["dimension"].integer(minimum=1),
            built=None if keys["built"].value is None else BuiltModel.from_node(keys["built"], listed),
        )
