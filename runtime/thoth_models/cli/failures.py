"""What each error means for ``thoth-models``: its exit code, and what to do next."""

from __future__ import annotations

from typing import Final

from thoth_models.cli.command import DONE, FAILED
from thoth_models.errors import (
    BackendError,
    BackendUnavailableError,
    BundleError,
    CallerError,
    EnvironmentFault,
    LoadTimeout,
    ManifestError,
    MemoryBudgetError,
    ModelUnavailableError,
    OfflineViolation,
    SpaceMismatchError,
    ThothModelsError,
    UnknownModelError,
    UnknownPromptError,
    VerificationError,
)
from thoth_models.process.environment import DIGEST_VARIABLE, MIN_RELEASE_VARIABLE, ROOT_VARIABLE, TRUST_VARIABLE

VERIFICATION_FAILED, BAD_USAGE = 1, 2

EXIT_CODES: Final = {
    DONE: "done",
    VERIFICATION_FAILED: "verification failed; for `doctor --quick`, anything but wrong usage",
    BAD_USAGE: "wrong usage",
    FAILED: "anything else; for `doctor`, a vector is wrong on this machine",
}

BUILD_AGAIN: Final = "build the bundle again with `thoth-bundle build`; if it is a copy, copy it again"
NOT_SIGNED: Final = (
    f"sign the bundle with `thoth-bundle sign`, or let {TRUST_VARIABLE} name the key or identity that signed it"
)
ANOTHER_BUNDLE: Final = f"mount the bundle that is expected, or expect this one: --expect-digest or {DIGEST_VARIABLE}"
OLDER_RELEASE: Final = (
    f"mount a later release of the bundle, or accept this one: --min-release or {MIN_RELEASE_VARIABLE}; "
    "`bundle.release` in models.yaml is its number"
)
OTHER_VECTORS: Final = "do not use this variant on this machine; --variant names another, `list` has them"
NO_STAND_IN: Final = "build the bundle again where its sources answer, or list `alternates` for it in models.yaml"
ABSENT_MODEL: Final = "build the bundle again where the sources of that model answer, or leave out --strict"

_NEXT_STEPS: Final[tuple[tuple[type[Exception], str], ...]] = (
    # The first that fits counts, so a class stands before those that it is derived from.
    (VerificationError, BUILD_AGAIN),
    (ManifestError, BUILD_AGAIN),
    (BundleError, f"build one with `thoth-bundle build`, or set --root or {ROOT_VARIABLE}"),
    (UnknownModelError, "`thoth-models list` has the models and their aliases"),
    (UnknownPromptError, "name one of the prompts above, or leave out --prompt-name"),
    (SpaceMismatchError, "use the model that the index was filled with, or fill the index again"),
    (CallerError, "`thoth-models COMMAND --help` has the options, with examples"),
    (BackendUnavailableError, "install thoth-models[onnx], or thoth-models[torch] for torch-fp32"),
    (LoadTimeout, "the stacks above show what waits; --timeout SECONDS allows more time"),
    (OfflineViolation, "set HF_HUB_OFFLINE=1 and TRANSFORMERS_OFFLINE=1 before Python starts"),
    (MemoryBudgetError, "raise THOTH_MODELS_MEMORY or the memory of the container, or take a smaller variant"),
    (BackendError, "`thoth-models doctor --all` checks every variant on this machine"),
    (EnvironmentFault, "`thoth-models doctor` shows the environment"),
    (ModelUnavailableError, "`thoth-models doctor --all` shows which models and variants can be used, and why not"),
    (MemoryError, "allow the process more memory, or take a smaller variant"),
    (OSError, "check that this user may use the file or directory, and that its disk has space"),
)


def next_step(error: Exception) -> str:
    """Return what a user can do after an error."""
    if isinstance(error, VerificationError) and any(problem.kind == "pin" for problem in error.problems):
        return ANOTHER_BUNDLE
    if isinstance(error, VerificationError) and any(problem.kind == "release" for problem in error.problems):
        return OLDER_RELEASE
    if isinstance(error, VerificationError) and any(problem.kind == "signature" for problem in error.problems):
        return NOT_SIGNED
    for kind, step in _NEXT_STEPS:
        if isinstance(error, kind):
            return step
    if isinstance(error, ThothModelsError):
        return "`thoth-models doctor` shows environment and bundle"
    return "this is a fault of thoth-models: report it with the lines above and the command"


def exit_code(error: Exception) -> int:
    """Return the exit code for an error."""
    if isinstance(error, (VerificationError, ManifestError)):
        return VERIFICATION_FAILED
    if isinstance(error, CallerError):
        return BAD_USAGE
    return FAILED
