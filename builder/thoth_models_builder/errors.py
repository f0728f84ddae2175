"""All errors of the builder, in one tree that is split by who has to act.

- The author of models.yaml: :class:`SpecError`, :class:`LockError`, :class:`UnsupportedModelError`,
  :class:`LicenceError`.
- The operator of a mirror or network: :class:`SourceError` and its subclasses, :class:`SourcesFailedError`.
- The owner of the build machine: :class:`StoreError`, :class:`OutputError`, :class:`EngineError`.
- The operator of a registry or of the network to it: :class:`RegistryError`.
- The owner of the credentials for a registry: :class:`CredentialsError`.
- The owner of the identity that signs, and the operator of a Sigstore instance: :class:`SigningServiceError`.
- The caller that named an image: :class:`ImageReferenceError`, :class:`ImageNotFoundError`.

A message says what was expected, what was found, and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.bundle.digest import Digest


class BuildError(Exception):
    """Base class of all errors that this package raises on purpose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One error in a models.yaml.

    Attributes:
        line: Line in the file, from 1; None for the file as a whole.
        path: Key path, such as ``models.mini.sources[0].revision``; empty for the document.
        message: Expected and found value.
    """

    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.path or 'the document'}: {self.message}"


class SpecError(BuildError):
    """models.yaml has errors.

    Attributes:
        file: Path of the file.
        findings: All errors, in the order of the lines.
    """

    def __init__(self, file: str, findings: Sequence[Finding]) -> None:
        """Keep all ``findings`` in ``file`` and list each in the message."""
        self.file = file
        self.findings = tuple(findings)
        count = len(self.findings)
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        super().__init__(f"{file}: {count} error{'' if count == 1 else 's'}\n{lines}")


class SpecNotFoundError(SpecError):
    """There is no models.yaml."""


class LockError(BuildError):
    """models.lock is missing or malformed."""


class LockOutOfDateError(BuildError):
    """models.yaml and models.lock disagree.

    Attributes:
        differences: One line of text for each difference.
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


class UnsupportedKeyError(UnsupportedModelError):
    """A key of models.yaml does not fit the files of a model, or lacks although they need it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenceViolation:
    """A model whose licence models.yaml does not permit.

    Attributes:
        model: Name of the model.
        published: Licence as published; None if none is stated.
        spdx: The same as an expression of SPDX; None if none is stated.
        reason: Expected and found licence.
    """

    model: str
    published: str | None
    spdx: str | None
    reason: str

    def __str__(self) -> str:
        """Return the violation as one line."""
        return f"{self.model}: {self.reason}"


class LicenceError(BuildError):
    """Models have licences that `licences` in models.yaml does not permit.

    Attributes:
        violations: All such models.
    """

    def __init__(self, violations: Sequence[LicenceViolation]) -> None:
        """Keep all ``violations`` and list each in the message."""
        self.violations = tuple(violations)
        lines = "\n".join(f"  {violation}" for violation in self.violations)
        super().__init__(f"`licences` in models.yaml does not permit:\n{lines}")


class SourceError(BuildError):
    """A source failed; the message contains no secret."""


class SourceUnreachableError(SourceError):
    """A source does not answer at all, so other files cannot be fetched from it either."""


class NoDirectoryError(SourceUnreachableError):
    """A local directory that is a source does not exist, or is a file."""


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
    """A failed attempt to fetch something from a source.

    Attributes:
        model: Name of the model.
        source: Label of the source, such as ``hub:org/name@commit``.
        path: Path of the file; None if the source as a whole failed.
        reason: Expected and found result.
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
    """No source of a model delivered all files.

    Attributes:
        attempts: All failed attempts, in order.
    """

    def __init__(self, message: str, attempts: Sequence[SourceAttempt]) -> None:
        """Keep the ``attempts`` and list each below ``message``."""
        self.attempts = tuple(attempts)
        lines = "\n".join(f"  {attempt}" for attempt in self.attempts)
        super().__init__(f"{message}:\n{lines}" if lines else message)


class StoreError(BuildError):
    """The store cannot be used, or is in use."""


class OutputError(BuildError):
    """The output cannot be written."""


class NotEnoughSpaceError(OutputError):
    """A disk does not have enough space; nothing was written."""


class CompilerUnavailableError(BuildError):
    """The libraries that compile models are not installed."""


class CompileError(BuildError):
    """Compiling a model failed or took too long; the message has the end of the compiler's log."""


class AccuracyError(BuildError):
    """A variant is not as close to the reference as it must be."""


class AlternateError(BuildError):
    """An alternate of models.yaml could never stand in for its model."""


class ImageReferenceError(UsageError):
    """An image reference is malformed, or lacks a tag or digest that is needed."""


class ImageNotFoundError(BuildError):
    """A registry or an engine has no such image, or none for the requested platform."""


class RegistryError(BuildError):
    """A registry, or the network to it, failed; the message contains no secret."""


class RegistryUnreachableError(RegistryError):
    """A registry does not answer at all, or not in time."""


class CredentialsError(BuildError):
    """A registry rejects the credentials or requires some, or they cannot be read; the message contains no secret."""


class SigningServiceError(BuildError):
    """A service for signatures without a key failed, refused or did not answer in time; without the token."""


class LayoutError(BuildError):
    """An OCI image layout on disk is malformed, such as a blob whose digest differs from its name."""


class EngineError(BuildError):
    """A Docker engine failed, or sent an unexpected answer."""


class EngineUnavailableError(EngineError):
    """No Docker engine answers in time."""
