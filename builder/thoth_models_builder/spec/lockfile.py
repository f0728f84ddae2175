"""``models.lock``: frozen types, and their JSON form: sorted, one file per line, no timestamps.

Pure. The lock records which bytes a model consists of. Builds accept only those bytes from a source.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from thoth_models.bundle.canonical_json import FormatError, Node, parse_json, safe_path
from thoth_models_builder.errors import LockError
from thoth_models_builder.spec.models_yaml import DirectorySource, HubSource, WheelSource
from thoth_models_builder.spec.reviewed.records import ConvertedFile, LockedCode, code_differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from thoth_models.bundle.digest import Digest
    from thoth_models_builder.spec.models_yaml import ModelSpec, Source, Spec

FORMAT_VERSION = 1

_GIT_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)
_GIT_ID_MEANING = "a git object id of 40 hexadecimal digits"
_DETAILS = {"hub": "revision", "wheel": "path"}
"""What the detail of a source is called, by its kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedFile:
    """One file of a model.

    Attributes:
        path: Path relative to the model's directory.
        size: Length in bytes.
        sha256: Digest of the content.
        blob_id: The git blob id that the Hub states for files stored in git, or None. (The id of a file in large-file
            storage is its sha256.)
    """

    path: str
    size: int
    sha256: Digest
    blob_id: str | None = None

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        document: dict[str, object] = {"path": self.path, "size": self.size, "sha256": self.sha256.hex}
        return document if self.blob_id is None else {**document, "blob_id": self.blob_id}

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members("path", "size", "sha256", optional=("blob_id",))
        return cls(
            path=safe_path(keys["path"]),
            size=keys["size"].integer(minimum=0),
            sha256=keys["sha256"].digest(),
            blob_id=keys["blob_id"].matching(_GIT_ID, _GIT_ID_MEANING) if "blob_id" in keys else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedSource:
    """A source as the specification named it when the lock was written.

    Attributes:
        kind: ``hub``, ``wheel`` or ``directory``.
        id: Repository id, requirement or path.
        detail: Requested revision of a repository, directory inside a wheel, or None.
    """

    kind: str
    id: str
    detail: str | None

    def to_document(self) -> dict[str, object]:
        """Return the JSON value: the id under the kind, and the detail under its own name."""
        document: dict[str, object] = {self.kind: self.id}
        if self.detail is not None:
            document[_DETAILS[self.kind]] = self.detail
        return document

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        known = node.members(optional=("hub", "wheel", "directory", *_DETAILS.values()))
        kind = next((kind for kind in _DETAILS if kind in known), "directory")
        detail = _DETAILS.get(kind)
        keys = node.members(kind, *(() if detail is None else (detail,)))
        return cls(kind=kind, id=keys[kind].text(), detail=None if detail is None else keys[detail].text())

    def __str__(self) -> str:
        """Return the source as one word, such as ``hub:org/name@main``."""
        separator = "@" if self.kind == "hub" else "!"
        return f"{self.kind}:{self.id}" + (f"{separator}{self.detail}" if self.detail else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedModel:
    """One model.

    Attributes:
        sources: Sources of the specification, in order; the first is the origin.
        variants: Sorted names of the variants whose files are recorded.
        revision: Commit of the origin; None if its kind has no commits.
        license: Licence as published, or None.
        dimension: Length of a vector; recorded so that alternates can be checked while the model itself is absent.
        files: Sorted by path.
        code: Python files that were reviewed, and that only a build runs; sorted by name.
        converted: Weights that were made from pickles, which are among ``files``; sorted by path.
        truncate_dim: The key of models.yaml where it shortens vectors, else None.
        license_link: Where the text of a licence is that the Hub does not know, as published, or None.
    """

    sources: tuple[LockedSource, ...]
    variants: tuple[str, ...]
    revision: str | None
    license: str | None
    dimension: int
    files: tuple[LockedFile, ...]
    code: tuple[LockedCode, ...] = ()
    converted: tuple[ConvertedFile, ...] = ()
    truncate_dim: int | None = None
    license_link: str | None = None

    def to_lines(self) -> str:
        """Return the JSON value, with one file and one source per line, indented for the lock."""
        files = ",\n".join(f"        {_compact(file.to_document())}" for file in self.files)
        sources = ",\n".join(f"        {_compact(source.to_document())}" for source in self.sources)
        truncate_dim = "" if self.truncate_dim is None else f'      "truncate_dim": {self.truncate_dim},\n'
        link = "" if self.license_link is None else f'      "license_link": {_compact(self.license_link)},\n'
        return (
            "{\n"
            f"{_list_lines('code', self.code)}"
            f"{_list_lines('converted', self.converted)}"
            f'      "dimension": {self.dimension},\n'
            f'      "files": [\n{files}\n      ],\n'
            f'      "license": {_compact(self.license)},\n'
            f"{link}"
            f'      "revision": {_compact(self.revision)},\n'
            f'      "sources": [\n{sources}\n      ],\n'
            f"{truncate_dim}"
            f'      "variants": {_compact(list(self.variants))}\n'
            "    }"
        )

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members(
            *("dimension", "files", "license", "revision", "sources", "variants"),
            optional=("code", "converted", "license_link", "truncate_dim"),
        )
        files = tuple(LockedFile.from_node(item) for item in keys["files"].items())
        paths = [file.path for file in files]
        if not files or paths != sorted(set(paths)):
            raise keys["files"].wrong("at least one file, sorted by path, each once", found=", ".join(paths) or "none")
        sources = tuple(LockedSource.from_node(item) for item in keys["sources"].items())
        if not sources:
            raise keys["sources"].wrong("at least one source")
        revision = keys["revision"]
        code = tuple(map(LockedCode.from_node, keys["code"].items())) if "code" in keys else ()
        if len({one.path for one in code}) < len(code):
            raise keys["code"].wrong("each path once", found=", ".join(one.path for one in code))
        converted = tuple(map(ConvertedFile.from_node, keys["converted"].items())) if "converted" in keys else ()
        contents = {file.path: (file.size, file.sha256) for file in files}
        for one in converted:
            # What is compiled and cached is known by `files`, and what is made from pickles by `converted`.
            if contents.get(one.path) != (one.content.size, one.content.sha256):
                raise keys["converted"].wrong(f"the length and sha256 that {one.path} has in `files`")
        return cls(
            sources=sources,
            variants=keys["variants"].sorted_unique(Node.text),
            revision=None if revision.value is None else revision.matching(_GIT_ID, _GIT_ID_MEANING),
            license=keys["license"].optional_text(),
            dimension=keys["dimension"].integer(minimum=1),
            files=files,
            code=code,
            converted=converted,
            truncate_dim=keys["truncate_dim"].integer(minimum=1) if "truncate_dim" in keys else None,
            license_link=keys["license_link"].text() if "license_link" in keys else None,
        )

    @property
    def origin(self) -> LockedSource:
        """The first source, which identifies the model, whichever source its bytes are fetched from."""
        return self.sources[0]

    @property
    def digests(self) -> frozenset[Digest]:
        """Digest of each file and of each piece of code that a build needs."""
        return frozenset({file.sha256 for file in self.files} | {code.content.sha256 for code in self.code})

    @property
    def size(self) -> int:
        """Length of all files together, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The resolved models of a specification, by name."""

    models: Mapping[str, LockedModel]

    def to_bytes(self) -> bytes:
        """Return the JSON, with sorted keys and one file per line, so that changes are readable as a diff."""
        models = ",\n".join(f"    {_compact(name)}: {self.models[name].to_lines()}" for name in sorted(self.models))
        body = f"{{\n{models}\n  }}" if models else "{}"
        return f'{{\n  "models": {body},\n  "version": {FORMAT_VERSION}\n}}\n'.encode()

    @classmethod
    def from_bytes(cls, data: bytes, file: str) -> Self:
        """Parse the bytes of a lock; ``file`` is its name for messages.

        Raises:
            LockError: The bytes are not JSON, or a key is missing, unknown or of a wrong type; the message names it.
        """
        try:
            keys = parse_json(data).members("models", "version")
            keys["version"].one_of(FORMAT_VERSION)
            return cls(models={node.key: LockedModel.from_node(node) for node in keys["models"].mapping()})
        except FormatError as error:
            raise LockError(f"{file}: {error}") from error


def locked_sources(model: ModelSpec) -> tuple[LockedSource, ...]:
    """Return the sources of a specification in the form in which the lock records them."""
    return tuple(_locked_source(source) for source in model.sources)


def _locked_source(source: Source) -> LockedSource:
    match source:
        case HubSource():
            return LockedSource(kind="hub", id=source.hub, detail=source.revision)
        case WheelSource():
            return LockedSource(kind="wheel", id=source.wheel, detail=source.path)
        case DirectorySource():
            return LockedSource(kind="directory", id=source.directory, detail=None)


def differences(spec: Spec, lock: Lock, models: Iterable[str] | None = None) -> list[str]:
    """Return each difference between a lock and a specification as one line.

    Args:
        spec: The specification.
        lock: The lock.
        models: Compare only these models; the lock may then contain others. None for all of both.
    """
    names = set(spec.models) | set(lock.models) if models is None else set(models)
    return [line for name in sorted(names) for line in _model_differences(name, spec, lock)]


def _model_differences(name: str, spec: Spec, lock: Lock) -> Iterator[str]:
    if name not in spec.models:
        yield f"{name}: expected no entry, because the specification has no such model, found one"
    elif name not in lock.models:
        yield f"{name}: expected an entry, found none"
    else:
        yield from entry_differences(name, spec.models[name], lock.models[name])


def entry_differences(name: str, model: ModelSpec, locked: LockedModel) -> list[str]:
    """Return each difference between the ``locked`` entry of one model and its specification."""
    lines: list[str] = []
    expected = locked_sources(model)
    if expected != locked.sources:
        wanted, found = (", ".join(map(str, sources)) for sources in (expected, locked.sources))
        lines.append(f"{name}: sources: expected {wanted}, found {found}")
    elif isinstance(origin := model.sources[0], HubSource) and origin.is_pinned and origin.revision != locked.revision:
        lines.append(f"{name}: revision: expected {origin.revision}, found {locked.revision}")
    variants = tuple(sorted(model.variants))
    lines += [f"{name}: {line}" for line in code_differences(model.code, locked.code)]
    if locked.converted and model.pickle != "convert":
        lines.append(f"{name}: pickle: expected convert, because weights were converted, found {model.pickle}")
    if variants != locked.variants:
        lines.append(f"{name}: variants: expected {', '.join(variants)}, found {', '.join(locked.variants)}")
    if model.truncate_dim is not None and model.truncate_dim != locked.dimension:
        lines.append(f"{name}: dimension: expected {model.truncate_dim} (`truncate_dim`), found {locked.dimension}")
    if model.truncate_dim is None and locked.truncate_dim is not None:
        lines.append(f"{name}: truncate_dim: expected none, found {locked.truncate_dim}, which decided the dimension")
    return lines


def _list_lines(key: str, entries: Iterable[LockedCode | ConvertedFile]) -> str:
    """Return the lines of a list with one entry per line; nothing for an empty list."""
    lines = ",\n".join(f"        {_compact(entry.to_document())}" for entry in entries)
    return f'      "{key}": [\n{lines}\n      ],\n' if lines else ""


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
