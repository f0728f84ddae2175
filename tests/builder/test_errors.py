"""One tree of errors, split by who must act; messages list all that is wrong."""

from __future__ import annotations

import inspect

import pytest

from thoth_models.bundle.digest import Digest
from thoth_models_builder import errors
from thoth_models_builder.errors import (
    BuildError,
    EngineError,
    EngineUnavailableError,
    Finding,
    ImageReferenceError,
    LockOutOfDateError,
    NotEnoughSpaceError,
    OutputError,
    RegistryError,
    RegistryUnreachableError,
    SourceAttempt,
    SourceError,
    SourcesFailedError,
    SourceUnreachableError,
    SpecError,
    UsageError,
    WrongContentError,
)

KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_one_of_the_builder_and_says_what_it_means(kind: type[Exception]) -> None:
    assert issubclass(kind, BuildError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (SourceUnreachableError, SourceError),
        (WrongContentError, SourceError),
        (NotEnoughSpaceError, OutputError),
        (ImageReferenceError, UsageError),
        (RegistryUnreachableError, RegistryError),
        (EngineUnavailableError, EngineError),
    ],
)
def test_a_narrower_error_is_caught_by_the_wider_one(kind: type[Exception], base: type[Exception]) -> None:
    assert issubclass(kind, base)


def test_a_specification_lists_every_finding_with_its_line() -> None:
    findings = [
        Finding(line=3, path="models.mini", message="expected a, found b"),
        Finding(line=None, path="", message="expected c, found d"),
    ]
    error = SpecError("models.yaml", findings)
    assert error.findings == tuple(findings)
    assert str(error) == (
        "models.yaml: 2 errors\n  line 3: models.mini: expected a, found b\n  the document: expected c, found d"
    )
    assert str(SpecError("models.yaml", findings[:1])).startswith("models.yaml: 1 error\n")


def test_a_lock_lists_every_difference() -> None:
    error = LockOutOfDateError("models.lock", ["mini: expected an entry, found none"])
    assert str(error) == "models.lock does not fit the specification:\n  mini: expected an entry, found none"


def test_sources_that_failed_list_every_attempt() -> None:
    attempts = [
        SourceAttempt(model="mini", source="hub:org/mini", path="config.json", reason="expected a, found b"),
        SourceAttempt(model="mini", source="directory:x", path=None, reason="expected a directory, found none"),
    ]
    assert str(SourcesFailedError("mini: incomplete", attempts)) == (
        "mini: incomplete:\n"
        "  mini from hub:org/mini, config.json: expected a, found b\n"
        "  mini from directory:x: expected a directory, found none"
    )
    assert str(SourcesFailedError("mini: incomplete", [])) == "mini: incomplete"


def test_wrong_content_names_both_digests() -> None:
    expected, found = Digest.of(b"a"), Digest.of(b"b")
    assert str(WrongContentError("x", expected, found)) == f"x: expected sha256 {expected}, found sha256 {found}"
