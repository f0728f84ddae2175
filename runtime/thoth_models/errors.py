"""Every error of the runtime, in one tree, split by who has to act.

- The caller: :class:`CallerError` (a wrong name, argument or input).
- The owner of the image: :class:`BundleError` (a bundle that is missing, malformed or changed).
- The operator of the process: :class:`EnvironmentFault` (a library that is not installed, a network access that was
  attempted, a load that took too long).

A message says what was expected, what was found, and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence


class ThothModelsError(Exception):
    """Base of all errors that this package raises on purpose."""


class CallerError(ThothModelsError):
    """The call itself must change: a wrong name, argument or input."""


class UnknownModelError(CallerError, LookupError):
    """The bundle has no model or alias of that name; the message lists the known names, nearest first."""


class UnknownPromptError(CallerError, LookupError):
    """The model has no prompt of that name; the message lists the known ones."""


class InvalidInputError(CallerError, ValueError):
    """An argument has a wrong type or value; the message names the argument and, in a list, the index."""


class SpaceMismatchError(CallerError):
    """Only a model of another embedding space could answer, and the caller or models.yaml does not accept that."""


class ManagerClosedError(CallerError, RuntimeError):
    """The manager was closed, and cannot be used again."""


class NotPicklableError(CallerError, TypeError):
    """The object belongs to this process, and cannot be sent to another one; the message says what to send instead."""


class BundleError(ThothModelsError):
    """The bundle must be built or mounted again."""


class BundleNotFoundError(BundleError):
    """There is no bundle at the root that was given or configured."""


class ManifestError(BundleError):
    """``manifest.json`` cannot be read as a manifest; the message names the key path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One finding of a verification: what was expected at a path, and what was found there.

    Attributes:
        kind: What is wrong: ``changed`` content or size, ``missing`` or ``extra`` path, ``special`` for a symlink or
            anything else that is neither a file nor a directory, ``manifest`` for a malformed manifest, ``unreadable``
            if the system refused access, ``writable`` if users other than the owner may write, ``unsafe`` if a
            configuration refers to something outside of the verified files, ``pin`` if it is another bundle than the
            expected one, ``release`` if it is an older one than is accepted, ``signature`` if it, or a file of it, was
            not signed as it must be, ``attestation`` if what was signed about it is missing or not so, ``space`` if a
            variant's files and settings are those of another embedding space than the stated one.
        path: Path relative to the bundle root, with ``/``; ``.`` for the root itself. Absolute for a signature and
            attestations, which are not in the bundle.
        expected: What the manifest or the bundle format requires.
        found: What was found.
    """

    kind: Literal[
        "changed",
        "missing",
        "extra",
        "special",
        "manifest",
        "unreadable",
        "writable",
        "unsafe",
        "pin",
        "release",
        "signature",
        "attestation",
        "space",
    ]
    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.path}: {self.kind}: expected {self.expected}, found {self.found}"


MAX_SHOWN = 50
"""How many differences a message lists: a directory may have any number of files that do not belong there."""


class VerificationError(BundleError):
    """Bytes or entries of the bundle differ from its manifest.

    Attributes:
        root: The bundle root that was checked.
        problems: Every difference that was found, not only the first.
    """

    def __init__(self, root: str, problems: Sequence[Problem]) -> None:
        """Store all ``problems`` found under ``root``, and list the first 50 of them in the message."""
        self.root = root
        self.problems = tuple(problems)
        count = len(self.problems)
        shown = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        shown += [f"and {count - MAX_SHOWN} more"] if count > MAX_SHOWN else []
        lines = "\n".join(f"  {line}" for line in shown)
        super().__init__(f"{root}: verification failed, {count} problem{'' if count == 1 else 's'}\n{lines}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Make the error picklable: a process pool hangs on an error of a worker that cannot be unpickled."""
        return type(self), (self.root, self.problems), self.__dict__


class EnvironmentFault(ThothModelsError):  # noqa: N818 - EnvironmentError is a builtin alias of OSError
    """The process or its environment must change, neither the call nor the bundle."""


class BackendUnavailableError(EnvironmentFault):
    """The libraries that a variant needs are not installed; the message names the extra to install."""


class BackendError(EnvironmentFault):
    """The libraries are installed, but could not make a working model of the verified files."""


class OfflineViolation(EnvironmentFault):
    """Code tried to open a connection or look up a name while a model was being loaded."""


class LoadTimeout(EnvironmentFault, TimeoutError):  # noqa: N818 - named after TimeoutError's own family
    """Loading, or verifying a bundle, did not finish within its deadline.

    Attributes:
        stacks: The stack of every thread at the moment the deadline passed, as text, the one that did it first.
    """

    def __init__(self, message: str, stacks: str = "") -> None:
        """Store the ``stacks`` apart from the message; ``str`` shows both."""
        self.stacks = stacks
        super().__init__(f"{message}\n{stacks}" if stacks else message)


class MemoryBudgetError(EnvironmentFault, MemoryError):
    """A model does not fit into the memory budget; the message has its size, and what is in use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One variant that was considered for a request and could not be used.

    Attributes:
        model: Name of the model in the bundle.
        variant: Name of the variant, or None if the model as a whole was passed over.
        reason: Why, as one or more lines of text.
        error: Name of the class of the error that loading it raised, or None if it was not tried.
    """

    model: str
    variant: str | None
    reason: str
    error: str | None = None

    def __str__(self) -> str:
        """Return the attempt as ``model/variant: reason``."""
        place = self.model if self.variant is None else f"{self.model}/{self.variant}"
        return f"{place}: {self.reason}"


class ModelUnavailableError(ThothModelsError):
    """None of the models and variants that may answer could be loaded.

    Attributes:
        attempts: Every variant that was considered, in order, each with its reason.
    """

    def __init__(self, requested: str, attempts: Sequence[Attempt]) -> None:
        """Store the ``attempts`` made for the ``requested`` name, and list them in the message."""
        self.requested = requested
        self.attempts = tuple(attempts)
        lines = "\n".join(f"  {attempt}" for attempt in self.attempts)
        super().__init__(f"no variant of {requested!r} could be loaded:\n{lines}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Make the error picklable: a process pool hangs on an error of a worker that cannot be unpickled."""
        return type(self), (self.requested, self.attempts), self.__dict__


class FallbackWarning(UserWarning):
    """Another model answers than the one that was requested; its vectors belong to another embedding space."""
