"""Whether variants could answer, and give on this machine the vectors that they gave when the bundle was built."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from thoth_models.contents import unread
from thoth_models.environment import threads
from thoth_models.errors import Attempt, BackendUnavailableError, InvalidInputError, ModelUnavailableError
from thoth_models.loading import load_embedding
from thoth_models.plainfile import NotPlainError, PlainFile
from thoth_models.selection import select
from thoth_models.tree import check_tree
from thoth_models.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from thoth_models.embedding import Embedding
    from thoth_models.errors import Problem
    from thoth_models.selection import Candidate
    from thoth_models.verify import OpenBundle

_LIBRARIES = {"onnx": ("onnxruntime", "tokenizers"), "torch": ("torch", "sentence_transformers")}
"""What the backends import; looked for, and not imported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenCheck:
    """What became of the golden texts of one variant.

    Attributes:
        model: Name of the model.
        variant: Name of the variant.
        state: ``right`` if every vector is as close to its reference as it must be, ``wrong`` if not or if the variant
            cannot be loaded although its libraries are installed, ``unproved`` for a model without golden vectors,
            ``unavailable`` where they are not installed.
        details: The figures, or the reason.
    """

    model: str
    variant: str
    state: Literal["right", "wrong", "unproved", "unavailable"]
    details: str

    @property
    def is_well(self) -> bool:
        """Whether nothing is known against the variant; libraries that are not installed do no harm."""
        return self.state != "wrong"

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.model}/{self.variant}: {self.state}: {self.details}"


def check_loaded(embedding: Embedding) -> GoldenCheck:
    """Encode the golden texts with a loaded model."""
    agreement, accuracy = embedding.check_golden(), embedding.accuracy
    info = embedding.info
    if agreement is None or accuracy is None:
        return GoldenCheck(
            model=info.model, variant=info.variant, state="unproved", details="the model has no golden vectors"
        )
    return GoldenCheck(
        model=info.model,
        variant=info.variant,
        state="right" if agreement.reaches(accuracy.required_cosine) else "wrong",
        details=f"{agreement}; required {accuracy.required_cosine:.5f}, "
        f"when it was built {accuracy.minimum_cosine:.5f}",
    )


def check_answer(embedding: Embedding) -> list[GoldenCheck]:
    """Encode the golden texts with what answers, and tell which variants were passed over because they went wrong."""
    passed_over = [
        GoldenCheck(model=attempt.model, variant=attempt.variant, state="wrong", details=attempt.reason)
        for attempt in embedding.info.attempts
        if attempt.variant is not None and attempt.error not in (None, BackendUnavailableError.__name__)
    ]
    return [*passed_over, check_loaded(embedding)]


def check_variants(root: Path, name: str | None, *, timeout: float) -> list[GoldenCheck]:
    """Load every variant of a model in turn, and encode the golden texts with it.

    Args:
        root: The bundle directory.
        name: Model name or alias; None for the bundle's default.
        timeout: Seconds for each to load.

    Raises:
        ThothModelsError: The bundle or the name cannot be used.
    """
    selection = select(open_bundle(root).manifest, name)
    if selection.model.built is None:
        raise InvalidInputError(f"expected a model that is in the bundle, found {selection.model.name!r}: absent")
    model = selection.model.name
    return [_check_variant(root, model, variant.name, timeout) for variant in selection.model.built.variants]


def _check_variant(root: Path, model: str, variant: str, timeout: float) -> GoldenCheck:
    try:
        # Of the same space: a stand-in would tell nothing of this variant.
        embedding = load_embedding(model, root=root, variants=[variant], same_space=True, timeout=timeout)
    except ModelUnavailableError as error:
        attempts = error.attempts
    else:
        if embedding.info.model == model:
            return check_loaded(embedding)
        attempts = embedding.info.attempts
    attempt = next(attempt for attempt in attempts if (attempt.model, attempt.variant) == (model, variant))
    is_absent = attempt.error == BackendUnavailableError.__name__
    return GoldenCheck(
        model=model, variant=variant, state="unavailable" if is_absent else "wrong", details=attempt.reason
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class QuickCheck:
    """What would answer for a model, as far as can be told without reading the files of any.

    Attributes:
        model: Name of the model that would answer.
        variant: Name of its variant.
        bundle_digest: sha256 of the bundle's manifest, 64 hexadecimal digits.
        files: Number of files that it is made of; all are there, readable, and of the right length.
        bytes: Their length together.
        passed_over: Every variant that comes before it and could not answer, each with its reason.
    """

    model: str
    variant: str
    bundle_digest: str
    files: int
    bytes: int
    passed_over: tuple[Attempt, ...]

    def __str__(self) -> str:
        """Return the finding as one line."""
        reasons = "; ".join(" ".join(str(attempt).split()) for attempt in self.passed_over)
        return (
            f"{self.model}/{self.variant} can answer: {self.files} files, {self.bytes:,} bytes present; "
            f"bundle digest {self.bundle_digest}" + (f"; passed over: {reasons}" if reasons else "")
        )


def check_quickly(
    root: Path,
    name: str | None = None,
    *,
    variants: Sequence[str] | None = None,
    same_space: bool = False,
    expect_space: str | None = None,
) -> QuickCheck:
    """Find out what would answer, in milliseconds: for the health check of a container.

    Checked is that the manifest is the one of the checksum list, that each file of a variant is there, is a regular
    file that this user may read and has its length, that nothing lies beside them, and that the libraries are
    installed. Nothing is imported, and no content compared: every load does that.

    Raises:
        ModelUnavailableError: Nothing could answer; carries each attempt.
        ThothModelsError: The bundle, the name or ``THOTH_MODELS_THREADS`` cannot be used.
    """
    threads()
    bundle = open_bundle(root)
    selection = select(bundle.manifest, name, variants=variants, same_space=same_space, expect_space=expect_space)
    attempts = list(selection.passed_over)
    for candidate in selection.candidates:
        paths = _paths(candidate)
        problems = [str(problem) for problem in _differences(bundle, candidate, paths)]
        libraries = _LIBRARIES.get(candidate.variant.backend, ())
        problems += [f"{library} is not installed" for library in libraries if find_spec(library) is None]
        if not problems:
            return QuickCheck(
                model=candidate.model.name,
                variant=candidate.variant.name,
                bundle_digest=bundle.bundle_digest.hex,
                files=len(paths),
                bytes=sum(bundle.manifest.files[path].size for path in paths),
                passed_over=tuple(attempts),
            )
        attempts.append(Attempt(model=candidate.model.name, variant=candidate.variant.name, reason="; ".join(problems)))
    raise ModelUnavailableError(selection.requested, attempts)


def names_to_check(root: Path, name: str | None) -> tuple[str | None, ...]:
    """Return what to ask for: ``name``, or the default; in a bundle without a default every model that was built.

    Raises:
        ThothModelsError: The bundle cannot be used.
    """
    manifest = open_bundle(root).manifest
    built = tuple(model.name for model in manifest.models.values() if model.built is not None)
    return (name,) if name is not None or manifest.default is not None or not built else built


def _paths(candidate: Candidate) -> list[str]:
    proof = candidate.built.proof
    return [*candidate.variant.files, *([] if proof is None else [proof.golden])]


def _differences(bundle: OpenBundle, candidate: Candidate, paths: Sequence[str]) -> Iterator[Problem]:
    seen = set()
    for problem in check_tree(bundle.root, candidate.variant.directory, set(candidate.variant.files)):
        seen.add(problem.path)
        yield problem
    for path in paths:
        if path in seen:
            continue
        try:
            with PlainFile(bundle.root, path) as file:
                problem_of_size = file.wrong_size(bundle.manifest.files[path])
        except (OSError, NotPlainError) as error:
            yield unread(path, error)
        else:
            if problem_of_size is not None:
                yield problem_of_size
