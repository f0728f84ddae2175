"""Lock and fetch the Python files that a model brings, which a team has reviewed.

They are found from the model's configuration, in its own repository and in others that it names, and are compared with
the digests in models.yaml. Nothing of them runs here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from thoth_models.bundle.digest import ContentDigest
from thoth_models_builder.bundle.code.references import (
    advice,
    code_references,
    relative_imports,
    review,
    with_local_code,
    without_code,
)
from thoth_models_builder.errors import SourceError, UnsupportedKeyError, UnsupportedModelError
from thoth_models_builder.sources.source import RemoteFile
from thoth_models_builder.spec.reviewed.records import CodeOrigin, LockedCode
from thoth_models_builder.spec.variants import path_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from thoth_models_builder.bundle.model_files import ModelFiles
    from thoth_models_builder.pipeline.fetch import FetchContext
    from thoth_models_builder.sources.source import Source
    from thoth_models_builder.spec.lockfile import LockedFile, LockedModel
    from thoth_models_builder.spec.plan import PlannedModel

Ingest: TypeAlias = "Callable[[Source, Sequence[RemoteFile]], dict[str, LockedFile]]"
"""Fetches files of a source into the store, and returns their lock entries by path."""

_MAX_FILE_SIZE: Final = 4 * 1024 * 1024
_MAX_FILES: Final = 200
_DEFAULT_REVISION: Final = "main"


@dataclass
class CodeFinder:
    """Finds the Python files of a model, in its source and in other repositories.

    Attributes:
        source: The source of the model.
        specified: sha256 by key of ``code`` in models.yaml; decides the commits of other repositories.
        context: Store and sources.
        ingest: Fetches files into the store.
    """

    source: Source
    specified: Mapping[str, str]
    context: FetchContext
    ingest: Ingest
    _remote: Mapping[str, RemoteFile] = field(default_factory=dict)
    _others: dict[str, tuple[Source, str, Mapping[str, RemoteFile]]] = field(default_factory=dict)

    def locked(self, remote: Mapping[str, RemoteFile], files: ModelFiles) -> tuple[LockedCode, ...]:
        """Return the files that the configuration of a model needs, if all of them are as they were reviewed.

        Args:
            remote: Files of the source, by path.
            files: The configuration.

        Raises:
            UnsupportedModelError: A file is not listed, has other bytes, is missing or cannot be parsed.
            SourceError: A source failed.
        """
        self._remote = remote
        found = self.needed(files)
        if not found:
            raise UnsupportedKeyError("code: expected no files, because the model brings no code of its own")
        needed = {code.name: code.content.sha256.hex for code in found.values()}
        more = {code.name: code for name in sorted(self.specified.keys() - needed) if (code := self._listed(name))}
        review(self.specified, needed, [*needed, *more])
        review(self.specified, {name: code.content.sha256.hex for name, code in more.items()}, [*needed, *more])
        for code in more.values():
            self._add(found, code)
        return tuple(sorted(found.values(), key=lambda code: code.name))

    def advice(self, remote: Mapping[str, RemoteFile], files: ModelFiles) -> str:
        """Return what to write into models.yaml; empty if the model has no code."""
        self._remote = remote
        try:
            if not code_references(files):
                return ""
        except UnsupportedModelError:
            return ""  # the files are not those of a model with code, and the error says what they are
        try:
            found = self.needed(files)
        except (SourceError, UnsupportedModelError) as error:
            return f"; its code cannot be listed: {error}"
        return f"\n{advice({code.name: code.content.sha256.hex for code in found.values()})}"

    def needed(self, files: ModelFiles) -> dict[str, LockedCode]:
        """Return the files that the configuration of a model refers to, and those that they import, by path."""
        found: dict[str, LockedCode] = {}
        waiting = [
            (one.directory, one.repository, one.module, one.directory if one.repository is None else "")
            for one in code_references(files)
        ]
        while waiting:
            directory, repository, module, place = waiting.pop()
            file = f"{module}.py"
            code = self._fetched(repository, path_in(place, file), path_in(directory, file))
            if not self._add(found, code):
                continue
            if len(found) > _MAX_FILES:
                raise UnsupportedModelError(f"expected at most {_MAX_FILES} Python files of a model, found more")
            data = self.context.store.read(code.content.sha256)
            waiting += [(directory, repository, name, place) for name in relative_imports(data, code.name)]
        return found

    def _add(self, found: dict[str, LockedCode], code: LockedCode) -> bool:
        """Add a file, and return whether it was not there before."""
        before = found.setdefault(code.path, code)
        if before.content != code.content:
            raise UnsupportedModelError(
                f"{code.path}: expected one file of that name, found {before.name} and {code.name}, which differ"
            )
        return before is code

    def _listed(self, name: str) -> LockedCode | None:
        """Return a file that models.yaml lists, although nothing is seen to import it; None if it does not exist."""
        origin = CodeOrigin.of(name)
        try:
            if origin is None:
                return self._fetched(None, name, name)
            return self._fetched(origin.repository, origin.path, origin.path)
        except UnsupportedModelError:
            return None

    def _fetched(self, repository: str | None, there: str, here: str) -> LockedCode:
        if repository is None:
            source, commit, remote = self.source, "", self._remote
        else:
            source, commit, remote = self._other(repository)
        name = there if repository is None else f"{repository}@{commit}:{there}"
        file = remote.get(there)
        if file is None:
            raise UnsupportedModelError(f"{name}: expected this file, which the model imports, found none")
        _check_size(name, file.size or 0)
        locked = self.ingest(source, [file])[there]
        # Also where the source states no size.
        _check_size(name, locked.size)
        return LockedCode(name=name, path=here, content=ContentDigest(size=locked.size, sha256=locked.sha256))

    def _other(self, repository: str) -> tuple[Source, str, Mapping[str, RemoteFile]]:
        if repository not in self._others:
            origins = [origin for name in self.specified if (origin := CodeOrigin.of(name)) is not None]
            commits = {origin.revision for origin in origins if origin.repository == repository}
            if len(commits) > 1:
                raise UnsupportedModelError(
                    f"code: expected one commit of {repository}, found {', '.join(sorted(commits))}"
                )
            source = self.context.repository(repository, next(iter(commits), _DEFAULT_REVISION))
            with self.context.waiting():
                listing = source.list_files()
            if listing.revision is None:
                raise SourceError(f"expected the commit of {repository}, found none")
            self._others[repository] = source, listing.revision, {file.path: file for file in listing.files}
        return self._others[repository]


def _check_size(name: str, size: int) -> None:
    if size > _MAX_FILE_SIZE:
        raise UnsupportedModelError(f"{name}: expected at most {_MAX_FILE_SIZE} bytes of code, found {size}")


def described(files: ModelFiles, locked: LockedModel) -> ModelFiles:
    """Return the files of a locked model to be configured: without references to code, if its code was reviewed."""
    return without_code(files, code_contents(locked)) if locked.code else files


def code_contents(locked: LockedModel) -> dict[str, ContentDigest]:
    """Return the content of each reviewed file, by its path in the model's directory."""
    return {code.path: code.content for code in locked.code}


def fetch_code(model: PlannedModel, context: FetchContext) -> bool:
    """Fetch the reviewed files of a model into the store, and return whether it has all of them.

    Failed attempts are recorded; a file with other bytes than the locked ones is one of them, with both digests.
    """
    remaining = [
        code for code in model.locked.code if context.store.find(code.content.sha256, code.content.size) is None
    ]
    own = [
        RemoteFile(path=code.name, size=code.content.size, sha256=code.content.sha256)
        for code in remaining
        if CodeOrigin.of(code.name) is None
    ]
    if own:
        with context.sources(model.spec, model.locked.revision) as sources:
            for source in sources:
                own = _failed(model.name, source, own, context)
    others = [(origin, code) for code in remaining if (origin := CodeOrigin.of(code.name)) is not None]
    failed = list(own)
    for origin, code in others:
        source = context.repository(origin.repository, origin.revision)
        file = RemoteFile(path=origin.path, size=code.content.size, sha256=code.content.sha256)
        failed += _failed(model.name, source, [file], context)
    return not failed


def _failed(name: str, source: Source, files: list[RemoteFile], context: FetchContext) -> list[RemoteFile]:
    if not files:
        return []
    _, failures = context.fetch_from(source, files, f"code of {name} from {source.label}")
    for failure in failures:
        context.failed(name, source, failure.file.path, failure.error)
    return [failure.file for failure in failures]


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeOfJob:
    """What a compile job has besides the source files of a model, because the model brings code.

    Attributes:
        contents: Content of each additional or changed file, by path in the model's source directory.
        places: File with the bytes of each.
        code: Paths of those that are code.
    """

    contents: Mapping[str, ContentDigest]
    places: Mapping[str, Path]
    code: tuple[str, ...]


def code_of_job(
    model: PlannedModel, files: ModelFiles, effective: ModelFiles, context: FetchContext
) -> CodeOfJob | None:
    """Fetch the code of a model, and return it with the configuration that refers to it by the names in the job.

    Args:
        model: The model as specified and locked.
        files: Its locked files.
        effective: The same as a bundle would have them, without references to code.
        context: Store and sources.

    Returns:
        Nothing in it for a model without code; None if a source failed.
    """
    if not fetch_code(model, context):
        return None
    contents = code_contents(model.locked)
    code = tuple(sorted(contents))
    for path, data in with_local_code(files, effective).items() if code else ():
        with context.store.writer(path, digest=None, size=len(data)) as writer:
            writer.write(data)
            contents[path] = writer.finish()
    return CodeOfJob(
        contents=contents,
        places={path: context.store.path(content.sha256) for path, content in contents.items()},
        code=code,
    )
