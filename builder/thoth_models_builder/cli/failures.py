"""What each error means for a command line: its exit code, and what to do next."""

from __future__ import annotations

from typing import Final

from thoth_models.cli.command import DONE, FAILED
from thoth_models.errors import BundleError, LoadTimeout, ManifestError, ThothModelsError, VerificationError
from thoth_models_builder.errors import (
    AccuracyError,
    AlternateError,
    BuildError,
    CompileError,
    CompilerUnavailableError,
    CredentialsError,
    EngineError,
    EngineUnavailableError,
    ImageNotFoundError,
    ImageReferenceError,
    LayoutError,
    LicenceError,
    LockError,
    LockOutOfDateError,
    NoDirectoryError,
    NotEnoughSpaceError,
    OutputError,
    RegistryError,
    RegistryUnreachableError,
    SigningServiceError,
    SourceError,
    SourcesFailedError,
    SourceUnreachableError,
    SpecError,
    SpecNotFoundError,
    StoreError,
    UnsupportedKeyError,
    UnsupportedModelError,
    UsageError,
    WrongContentError,
)

VERIFICATION_FAILED, BAD_INPUT, SOURCE_FAILED = 1, 2, 3

EXIT_CODES: Final = {
    DONE: "done",
    VERIFICATION_FAILED: "a check failed: verification, lock against models.yaml, licences, accuracy, `--check`",
    BAD_INPUT: "wrong usage, models.yaml or models.lock, or a model that a bundle cannot contain",
    SOURCE_FAILED: "a source failed",
    FAILED: "anything else",
    143: "ended by SIGTERM",
}

LOCK_AGAIN: Final = "run `thoth-bundle lock`, and review the lock as a diff"
ADD_A_MIRROR: Final = "a mirror can be listed as a further source of the model: wheel or directory"
BUILD_AGAIN: Final = "build it again with `thoth-bundle build`; if it is a copy, copy it again"
SIGN: Final = "sign the bundle with `thoth-bundle sign`, or name the key or identity that signed it with --trust"
RELEASE: Final = "state `bundle.release` in models.yaml and build, or name a lower one with --min-release"
ATTEST: Final = (
    "attest the bundle with `thoth-bundle attest` where it is built, "
    "or name the key or identity that signed with --trust"
)
CHECK_NETWORK: Final = "check network, proxy, HF_ENDPOINT and HF_TOKEN; `-v` shows every attempt"
INDEX_AGAIN: Final = "fill the index again with vectors of the new bundle, or keep the one that is in use"
CHANGE_REVISION: Final = "write the commit as `revision` in models.yaml, then run `thoth-bundle lock`"

_NEXT_STEPS: Final[tuple[tuple[type[Exception], str], ...]] = (
    # The first that fits counts, so a class stands before those that it is derived from.
    (VerificationError, BUILD_AGAIN),
    (ManifestError, BUILD_AGAIN),
    (BundleError, "`thoth-bundle build` makes ./bundle; another directory is named as an argument"),
    (
        LoadTimeout,
        "the stacks above show what waits, as for storage; `verify --timeout SECONDS` allows more time",
    ),
    (ThothModelsError, "`thoth-models doctor` shows the environment of the runtime"),
    (
        SpecNotFoundError,
        "`thoth-bundle init` writes a first one, and `thoth-bundle add ORG/NAME` one with a model of the Hub",
    ),
    (SpecError, "docs/models-yaml.md has every key, and `thoth-bundle schema` prints the schema for editors"),
    (LockOutOfDateError, LOCK_AGAIN),
    (LockError, "`thoth-bundle lock` writes the lock"),
    (ImageReferenceError, "write a name with its tag, such as docker:thoth-models:1 or registry:HOST/NAME:TAG"),
    (UsageError, "`thoth-bundle COMMAND --help` has the options, with examples"),
    (UnsupportedKeyError, "change the key in models.yaml as the message says; docs/models-yaml.md has every key"),
    (UnsupportedModelError, "choose another revision, or a model whose files a bundle can contain"),
    (LicenceError, "choose another model, or change `licences` in models.yaml, if those who decide on licences agree"),
    (AlternateError, "change `alternates` in models.yaml"),
    (WrongContentError, "ask the operator of that source; a mirror may have the locked bytes"),
    (NoDirectoryError, "check the path of the directory; in models.yaml, it is relative to that file"),
    (SourceUnreachableError, f"{CHECK_NETWORK}; without the Hub, `thoth-bundle init` alone begins with a wheel"),
    (SourceError, "check the id of the source, HF_ENDPOINT and HF_TOKEN; `-v` shows every attempt"),
    (SourcesFailedError, ADD_A_MIRROR),
    (StoreError, "wait for other builds that use the store, or name another one with --store"),
    (NotEnoughSpaceError, "a layout can be on another disk; temporary files go where TMPDIR says"),
    (OutputError, "check owner and mode of that place, or name another one, and run the command again"),
    (CompilerUnavailableError, "install thoth-models-builder[compile]; or see `golden` in docs/models-yaml.md"),
    (CompileError, "leave the variant out of models.yaml, or allow more time with --compile-deadline"),
    (AccuracyError, "leave the variant out of models.yaml; for int8, `int8_floor` there is the limit"),
    (ImageNotFoundError, "check name, tag and platform of the image"),
    (RegistryUnreachableError, "check name and network of the registry; layers that it has are not sent again"),
    (RegistryError, "run the command again: layers that the registry has are not sent again"),
    (CredentialsError, "log in with `docker login HOST`, as a user who may do this"),
    (SigningServiceError, "check the token, the services in --trust-config and the network, and run the command again"),
    (LayoutError, "remove the layout, and make it again with `thoth-bundle image`"),
    (EngineUnavailableError, "`--to docker-archive:FILE` needs no engine, and `docker load` takes the file elsewhere"),
    (EngineError, "check `docker info`, and the log of the engine"),
    (MemoryError, "allow the process more memory; what was done so far is kept"),
    (OSError, "check that this user may use the file or directory, and that its disk has space"),
)

_BY_PROBLEM: Final = {"release": RELEASE, "signature": SIGN, "attestation": ATTEST}
"""What to do about a failed verification whose reason is not the content of the bundle, by the kind of its problems."""


def next_step(error: Exception) -> str:
    """Return what a user can do after an error."""
    if isinstance(error, VerificationError):
        kinds = {problem.kind for problem in error.problems}
        for reason, reaction in _BY_PROBLEM.items():
            if reason in kinds:
                return reaction
    for kind, step in _NEXT_STEPS:
        if isinstance(error, kind):
            return step
    if isinstance(error, BuildError):
        return "`-v` shows more of what happened"
    return "this is a fault of thoth-bundle: report it with the lines above and the command"


def exit_code(error: Exception) -> int:
    """Return the exit code for an error."""
    if isinstance(error, (VerificationError, ManifestError, LockOutOfDateError, LicenceError, AccuracyError)):
        return VERIFICATION_FAILED
    if isinstance(error, (SpecError, LockError, UsageError, AlternateError, UnsupportedModelError)):
        return BAD_INPUT
    if isinstance(error, (SourceError, SourcesFailedError)):
        return SOURCE_FAILED
    return FAILED
