"""A local directory as a source; no file outside it is read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from thoth_models.bundle.canonical_json import FormatError, Node, safe_path
from thoth_models.bundle.digest import READ_SIZE
from thoth_models_builder.errors import NoDirectoryError, SourceError
from thoth_models_builder.sources.model_card import MAX_CARD_SIZE, StatedLicense, license_of
from thoth_models_builder.sources.source import Failure, Listing, RemoteFile, Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class DirectoryTree:
    """A directory with a model.

    Args:
        path: The directory.
        label: Name of the source in messages.
    """

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        self.label = label

    def list_files(self) -> Listing:
        """Return every file below the directory, with its size.

        Raises:
            NoDirectoryError: The directory does not exist.
            SourceError: It contains a symlink that leads out of it, or something that is neither file nor directory.
        """
        root = self._root()
        files = tuple(
            RemoteFile(path=path, size=target.stat().st_size) for path, target in sorted(self._walk(root, root))
        )
        stated = self._license()
        return Listing(revision=None, license=stated.text, license_link=stated.link, files=files)

    def read_beginning(self, file: RemoteFile, size: int) -> bytes:
        """Return the first bytes of a file."""
        try:
            with self._checked(self._root(), file.path).open("rb") as content:
                return content.read(size)
        except OSError as error:
            raise SourceError(f"{file.path}: expected a readable file, found {error.strerror}") from error

    def fetch(
        self, files: Sequence[RemoteFile], open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]]
    ) -> list[Failure]:
        """Copy each of ``files`` into its sink."""
        failures: list[Failure] = []
        for file in files:
            try:
                target = self._checked(self._root(), file.path)
                with open_sink(file) as sink, target.open("rb") as content:
                    sink.restart()
                    while data := content.read(READ_SIZE):
                        sink.write(data)
                    sink.finish()
            except SourceError as error:
                failures.append(Failure(file=file, error=error))
            except OSError as error:
                reason = f"{file.path}: expected a readable file, found {error.strerror}"
                failures.append(Failure(file=file, error=SourceError(reason)))
        return failures

    def _license(self) -> StatedLicense:
        card = self.path / "README.md"
        if not card.is_file():
            return StatedLicense(None, None)
        try:
            with card.open("rb") as file:
                return license_of(file.read(MAX_CARD_SIZE))
        except OSError as error:
            raise SourceError(f"README.md: expected a readable file, found {error.strerror}") from error

    def _root(self) -> Path:
        try:
            root = self.path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise NoDirectoryError(f"expected a directory at {self.path}, found none") from error
        if not root.is_dir():
            raise NoDirectoryError(f"expected a directory at {self.path}, found a file")
        return root

    def _walk(self, root: Path, directory: Path) -> Iterator[tuple[str, Path]]:
        try:
            entries = sorted(directory.iterdir())
        except OSError as error:
            raise SourceError(f"{directory}: expected a readable directory, found {error.strerror}") from error
        for entry in entries:
            path = entry.relative_to(root).as_posix()
            if entry.is_dir() and not entry.is_symlink():
                yield from self._walk(root, entry)
            else:
                yield path, self._checked(root, path)

    def _checked(self, root: Path, path: str) -> Path:
        """Resolve ``path`` to a regular file inside ``root``."""
        try:
            safe_path(Node(path, "path"))
            target = (root / path).resolve(strict=True)
        except FormatError as error:
            raise SourceError(str(error)) from error
        except (OSError, RuntimeError) as error:
            raise SourceError(f"{path}: expected a file, found none") from error
        if not target.is_relative_to(root):
            raise SourceError(f"{path}: expected a file inside {self.path}, found a symlink that leads out of it")
        if not stat.S_ISREG(os.stat(target).st_mode):  # noqa: PTH116 - one call for type and existence
            raise SourceError(f"{path}: expected a regular file, found something else")
        return target
