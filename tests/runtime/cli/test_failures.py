"""Each error has an exit code that the help explains, and a next step of its own."""

from __future__ import annotations

import pytest

from tests.support.error_kinds import error_kinds, made
from thoth_models.cli.failures import _NEXT_STEPS, EXIT_CODES, exit_code, next_step
from thoth_models.errors import BundleNotFoundError, InvalidInputError, ManifestError, ThothModelsError

KINDS = error_kinds(ThothModelsError, "thoth_models.errors")


def test_all_errors_are_found() -> None:
    assert {"VerificationError", "LoadTimeout", "UnknownModelError"} < {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_has_a_next_step(kind: type[Exception]) -> None:
    steps = {step for other, step in _NEXT_STEPS if issubclass(kind, other)}
    assert next_step(made(kind)) in steps
    assert exit_code(made(kind)) in EXIT_CODES


def test_no_next_step_is_hidden_by_one_before_it() -> None:
    kinds = [kind for kind, _ in _NEXT_STEPS]
    assert [kind for index, kind in enumerate(kinds) if any(issubclass(kind, other) for other in kinds[:index])] == []


def test_other_errors_have_one_too() -> None:
    assert "this user may use the file" in next_step(OSError())
    assert "report it" in next_step(ZeroDivisionError())
    assert next_step(ThothModelsError()) == "`thoth-models doctor` shows environment and bundle"


@pytest.mark.parametrize(
    ("error", "code"),
    [(ManifestError("x"), 1), (InvalidInputError("x"), 2), (BundleNotFoundError("x"), 4), (OSError(), 4)],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code
