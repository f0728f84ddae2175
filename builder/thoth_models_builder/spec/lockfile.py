"""``models.lock``: frozen types and their one spelling as JSON; sorted, one file a line, no timestamps.

Pure. The lock says which bytes a model consists of. Sources are only asked for exactly those bytes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models.canonical import FormatError, Node, parse_json, safe_path
from thoth_models_builder.errors import LockError
from thoth_models_builder.spec import DirectorySource, HubSource, WheelSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from thoth_models.digest import Digest
    from thoth_models_builder.spec import ModelSpec, Source, Spec

FORMAT_VERSION = 1

_GIT_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)
_GIT_ID_MEANING = "a git object id of 40 hexadecimal digits"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedFile:
    """One file of a model.

    Attributes:
        path: Path relative to the model's directory.
        size: Length in bytes.
        sha256: Its digest.
        blob_id: The Hub's own id where it gave one: the git blob id of a file that is kept in git itself. (For a file
            kept in large-file storage the Hub's id is the sha256.)
    """

    path: str
    size: int
    sha256: Digest
    blob_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedSource:
    """A source as the specification named it when the lock was made.

    Attributes:
        kind: ``hub``, ``wheel`` or ``directory``.
        id: Repository id, requirement or path.
        detail: Revision of a repository as asked for, directory inside a wheel, or None.
    """

    kind: str
    id: str
    detail: str | None

    def __str__(self) -> str:
        """Return the source as one word."""
        separator = "@" if self.kind == "hub" else "!"
        return f"{self.kind}:{self.id}" + (f"{separator}{self.detail}" if self.detail else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedModel:
    """One model.

    Attributes:
        sources: What the specification listed, in order; the first is the origin.
        variants: Sorted names of the variants whose files are recorded.
        revision: Commit of the origin, where it has commits.
        license: As published, or None.
        dimension: Length of a vector; kept here so that a stand-in can be judged while the model itself is absent.
        files: Sorted by path.
    """

    sources: tuple[LockedSource, ...]
    variants: tuple[str, ...]
    revision: str | None
    license: str | None
    dimension: int
    files: tuple[LockedFile, ...]

    @property
    def origin(self) -> LockedSource:
        """Where the model comes from, whichever source its bytes are fetched from."""
        return self.sources[0]

    @property
    def size(self) -> int:
        """Length of all files together, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """What a specification resolved to: models by name."""

    models: Mapping[str, LockedModel]

    def to_bytes(self) -> bytes:
        """Return the JSON: keys sorted, one file a line, so that a change reads well as a diff."""
        models = ",\n".join(_model_lines(name, self.models[name]) for name in sorted(self.models))
        body = f"{{\n{models}\n  }}" if models else "{}"
        return f'{{\n  "models": {body},\n  "version": {FORMAT_VERSION}\n}}\n'.encode()

    @classmethod
    def from_bytes(cls, data: bytes, file: str) -> Lock:
        """Parse the bytes of a lock; ``file`` is its name for messages.

        Raises:
            LockError: It is not JSON, or a key is missing, unknown or of another type; the message names the key path.
        """
        try:
            lock = _lock(parse_json(data))
        except FormatError as error:
            raise LockError(f"{file}: {error}") from error
        return lock


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
    """Return what in ``lock`` does not fit ``spec``, one line each; nothing where the two agree.

    Args:
        spec: What is wanted.
        lock: What was resolved.
        models: Look at these only; a lock may then hold more. None for all of both.
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
    """Return what in the ``locked`` entry of one model does not fit its specification."""
    lines: list[str] = []
    expected = locked_sources(model)
    if expected != locked.sources:
        wanted, found = (", ".join(map(str, sources)) for sources in (expected, locked.sources))
        lines.append(f"{name}: sources: expected {wanted}, found {found}")
    variants = tuple(sorted(model.variants))
    if variants != locked.variants:
        lines.append(f"{name}: variants: expected {', '.join(variants)}, found {', '.join(locked.variants)}")
    return lines


# --- to JSON ---


def _model_lines(name: str, model: LockedModel) -> str:
    files = ",\n".join(f"        {_compact(_file_document(file))}" for file in model.files)
    sources = ",\n".join(f"        {_compact(_source_document(source))}" for source in model.sources)
    return (
        f"    {_compact(name)}: {{\n"
        f'      "dimension": {model.dimension},\n'
        f'      "files": [\n{files}\n      ],\n'
        f'      "license": {_compact(model.license)},\n'
        f'      "revision": {_compact(model.revision)},\n'
        f'      "sources": [\n{sources}\n      ],\n'
        f'      "variants": {_compact(list(model.variants))}\n'
        "    }"
    )


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _file_document(file: LockedFile) -> dict[str, object]:
    document: dict[str, object] = {"path": file.path, "size": file.size, "sha256": file.sha256.hex}
    return document if file.blob_id is None else {**document, "blob_id": file.blob_id}


def _source_document(source: LockedSource) -> dict[str, object]:
    document: dict[str, object] = {source.kind: source.id}
    if source.detail is not None:
        document["revision" if source.kind == "hub" else "path"] = source.detail
    return document


# --- from JSON ---


def _lock(root: Node) -> Lock:
    keys = root.table("models", "version")
    keys["version"].one_of(FORMAT_VERSION)
    return Lock(models={node.key: _model(node) for node in keys["models"].entries()})


def _model(node: Node) -> LockedModel:
    keys = node.table("dimension", "files", "license", "revision", "sources", "variants")
    files = tuple(_file(item) for item in keys["files"].items())
    paths = [file.path for file in files]
    if not files or paths != sorted(set(paths)):
        raise keys["files"].wrong("at least one file, sorted by path, each once", found=", ".join(paths) or "none")
    sources = tuple(_source(item) for item in keys["sources"].items())
    if not sources:
        raise keys["sources"].wrong("at least one source")
    return LockedModel(
        sources=sources,
        variants=keys["variants"].sorted_unique(Node.text),
        revision=None if keys["revision"].value is None else keys["revision"].matching(_GIT_ID, _GIT_ID_MEANING),
        license=keys["license"].optional_text(),
        dimension=keys["dimension"].integer(minimum=1),
        files=files,
    )


def _file(node: Node) -> LockedFile:
    keys = node.table("path", "size", "sha256", optional=("blob_id",))
    blob_id = keys["blob_id"].matching(_GIT_ID, _GIT_ID_MEANING) if "blob_id" in keys else None
    return LockedFile(
        path=safe_path(keys["path"]),
        size=keys["size"].integer(minimum=0),
        sha256=keys["sha256"].digest(),
        blob_id=blob_id,
    )


def _source(node: Node) -> LockedSource:
    keys = node.table(optional=("hub", "wheel", "directory", "revision", "path"))
    if "hub" in keys:
        keys = node.table("hub", "revision")
        return LockedSource(kind="hub", id=keys["hub"].text(), detail=keys["revision"].text())
    if "wheel" in keys:
        keys = node.table("wheel", "path")
        return LockedSource(kind="wheel", id=keys["wheel"].text(), detail=keys["path"].text())
    keys = node.table("directory")
    return LockedSource(kind="directory", id=keys["directory"].text(), detail=None)
