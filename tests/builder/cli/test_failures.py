"""Each error has an exit code that the help explains, and a next step of its own."""

from __future__ import annotations

import pytest

from tests.support.error_kinds import error_kinds, made
from thoth_models.errors import BundleNotFoundError, ManifestError, ThothModelsError
from thoth_models_builder.cli.failures import _NEXT_STEPS, EXIT_CODES, exit_code, next_step
from thoth_models_builder.errors import (
    AccuracyError,
    BuildError,
    CompileError,
    ImageReferenceError,
    LockError,
    SourceError,
    SpecNotFoundError,
    WrongContentError,
)

KINDS = error_kinds(BuildError, "thoth_models_builder.errors")
"""Those of other modules do not leave their package."""


def test_all_errors_are_found() -> None:
    assert {"SpecError", "WrongContentError", "EngineUnavailableError"} < {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_has_a_next_step_of_its_own(kind: type[Exception]) -> None:
    """Not that of a class which it is derived from: who has to act differs."""
    steps = dict(_NEXT_STEPS)
    assert next_step(made(kind)) == steps[kind]
    assert exit_code(made(kind)) in EXIT_CODES


def test_no_next_step_is_hidden_by_one_before_it() -> None:
    kinds = [kind for kind, _ in _NEXT_STEPS]
    assert [kind for index, kind in enumerate(kinds) if any(issubclass(kind, other) for other in kinds[:index])] == []


def test_other_errors_have_one_too() -> None:
    assert "shows more" in next_step(BuildError())
    assert "report it" in next_step(ZeroDivisionError())
    assert next_step(ThothModelsError()) == "`thoth-models doctor` shows the environment of the runtime"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ManifestError, 1),
        (AccuracyError, 1),
        (SpecNotFoundError, 2),
        (LockError, 2),
        (ImageReferenceError, 2),
        (SourceError, 3),
        (WrongContentError, 3),
        (CompileError, 4),
        (BundleNotFoundError, 4),
        (OSError, 4),
    ],
)
def test_exit_codes(kind: type[Exception], code: int) -> None:
    assert exit_code(made(kind)) == code
