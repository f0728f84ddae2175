"""Every error of the builder, in one tree that is split by who must act.

- The author of models.yaml: :class:`SpecError`, :class:`LockError`, :class:`UnsupportedModelError`.
- The operator of a mirror or network: :class:`SourceError` and what is made of it, :class:`SourcesFailedError`.
- The owner of the machine that builds: :class:`StoreError`, :class:`OutputError`, :class:`EngineError`.
- The operator of a registry or of the network to it: :class:`RegistryError`.
- Who holds the credentials for a registry: :class:`CredentialsError`.
- Who named an image: :class:`ImageReferenceError`, :class:`ImageNotFoundError`.

A message says what was expected, what was found, and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.digest import Digest


class BuildError(Exception):
    """Base of all errors that this package raises on purpose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with a models.yaml.

    Attributes:
        line: Line in the file, from 1; None where the file as a whole is meant.
        path: Key path, such as ``models.mini.sources[0].revision``; empty for the document.
        message: What was expected, and what was found.
    """

    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.path or 'the document'}: {self.message}"


class SpecError(BuildError):
    """models.yaml is not what it should be.

    Attributes:
        file: Its path.
        findings: Everything that is wrong with it, in the order of the lines.
    """

    def __init__(self, file: str, findings: Sequence[Finding]) -> None:
        """Keep all ``findings`` in ``file`` and list each in the message."""
        self.file = file
        self.findings = tuple(findings)
        count = len(self.findings)
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        super().__init__(f"{file}: {count} error{'' if count == 1 else 's'}\n{lines}")


class LockError(BuildError):
    """models.lock is missing, or cannot be read as a lock."""


class LockOutOfDateError(BuildError):
    """models.yaml and models.lock disagree.

    Attributes:
        differences: Each of them, as one line of text.
    """

    def __init__(self, lock: str, differences: Sequence[str]) -> None:
        """Keep all ``differences`` between the specification and ``lock`` and list each in the message."""
        self.differences = tuple(differences)
        lines = "\n".join(f"  {difference}" for difference in self.differences)
        super().__init__(f"{lock} does not fit the specification:\n{lines}")


class UsageError(BuildError):
    """A command line argument cannot be used."""


class UnsupportedModelError(BuildError):
    """A model needs something that a bundle refuses, such as code of its own or pickled weights."""


class SourceError(BuildError):
    """One source could not deliver; the message says what was expected and found, and carries no secret."""


class SourceUnreachableError(SourceError):
    """A source does not answer at all, so asking it for another file is in vain."""


class WrongContentError(SourceError):
    """A source delivered other bytes than the locked ones.

    Attributes:
        expected: The locked digest.
        found: The digest of what came.
    """

    def __init__(self, path: str, expected: Digest, found: Digest) -> None:
        """Name both digests of the file at ``path``."""
        self.expected = expected
        self.found = found
        super().__init__(f"{path}: expected sha256 {expected}, found sha256 {found}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceAttempt:
    """One source that was asked, and did not deliver.

    Attributes:
        model: Name of the model.
        source: Label of the source, such as ``hub:org/name@commit``.
        path: The file that was asked for; None where the source as a whole failed.
        reason: What was expected and what was found.
    """

    model: str
    source: str
    path: str | None
    reason: str

    def __str__(self) -> str:
        """Return the attempt as one line."""
        place = "" if self.path is None else f", {self.path}"
        return f"{self.model} from {self.source}{place}: {self.reason}"


class SourcesFailedError(BuildError):
    """No source of a model delivered what is needed.

    Attributes:
        attempts: Every source that was asked, for every file, in order.
    """

    def __init__(self, message: str, attempts: Sequence[SourceAttempt]) -> None:
        """Keep the ``attempts`` and list each below ``message``."""
        self.attempts = tuple(attempts)
        lines = "\n".join(f"  {attempt}" for attempt in self.attempts)
        super().__init__(f"{message}:\n{lines}" if lines else message)


class StoreError(BuildError):
    """The store cannot be used, or is in use."""


class OutputError(BuildError):
    """The bundle cannot be written where it was asked for."""


class NotEnoughSpaceError(OutputError):
    """A disk cannot hold what is about to be written; nothing was."""


class CompilerUnavailableError(BuildError):
    """The libraries that compile models are not installed."""


class CompileError(BuildError):
    """Compiling a model failed or took too long; the message has the end of the compiler's log."""


class AccuracyError(BuildError):
    """A variant is not as close to the reference as it must be."""


class AlternateError(BuildError):
    """An alternate of models.yaml could never stand in for its model."""


class ImageReferenceError(UsageError):
    """The name of an image is not one, or not of the kind that is needed here."""


class ImageNotFoundError(BuildError):
    """A registry or an engine answers, and has no such image, or none for the platform that was asked for."""


class RegistryError(BuildError):
    """A registry, or the network to it, does not do what was asked; the message carries no secret."""


class RegistryUnreachableError(RegistryError):
    """A registry does not answer at all, or not in time."""


class CredentialsError(BuildError):
    """A registry wants other credentials than there are, or they cannot be read; the message carries no secret."""


class LayoutError(BuildError):
    """An OCI image layout on disk is not what it should be, such as a blob that has another digest than its name."""


class EngineError(BuildError):
    """A Docker engine failed at what it was asked, or answered something else."""


class EngineUnavailableError(EngineError):
    """No Docker engine answers where one should be, or not in time."""
