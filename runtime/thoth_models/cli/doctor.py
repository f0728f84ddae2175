"""Check whether variants can answer, and whether they give the golden vectors on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Literal

from thoth_models.bundle.accuracy import MAX_DRIFT
from thoth_models.bundle.selection import select
from thoth_models.errors import (
    MAX_SHOWN,
    Attempt,
    BackendUnavailableError,
    ModelUnavailableError,
    SpaceMismatchError,
)
from thoth_models.loading.load import load_embedding
from thoth_models.process.environment import threads
from thoth_models.verification.contents import unread
from thoth_models.verification.entries import check_tree
from thoth_models.verification.regular_file import NotRegularError, RegularFile
from thoth_models.verification.verify import open_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report
    from thoth_models.bundle.selection import Candidate
    from thoth_models.embedding import Embedding
    from thoth_models.errors import Problem
    from thoth_models.process.environment import BundlePlace
    from thoth_models.verification.verify import OpenBundle

_LIBRARIES = {"onnx": ("onnxruntime", "tokenizers"), "torch": ("torch", "sentence_transformers")}
"""Libraries of the backends; only checked for, not imported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenCheck:
    """The result of encoding the golden texts with one variant, or what takes the place of an absent model.

    Attributes:
        model: Name of the model.
        variant: Name of the variant, or None for an absent model.
        state: ``right`` if every vector is close enough to its reference; ``wrong`` if not, or if the variant cannot be
            loaded although its libraries are installed; ``unproved`` for a model without golden vectors;
            ``unavailable`` if its libraries are not installed; ``absent`` for a model that the bundle was built
            without, as models.yaml allows, because another one stands in.
        details: The figures, or the reason.
    """

    model: str
    variant: str | None
    state: Literal["right", "wrong", "unproved", "unavailable", "absent"]
    details: str

    @property
    def is_well(self) -> bool:
        """Whether the variant is not known to be wrong; missing libraries and absent models are not an error."""
        return self.state != "wrong"

    def __str__(self) -> str:
        """Return the finding as one line."""
        place = self.model if self.variant is None else f"{self.model}/{self.variant}"
        return f"{place}: {self.state}: {self.details}"


def check_loaded(embedding: Embedding, report: Report | None = None) -> GoldenCheck:
    """Encode the golden texts with a loaded model.

    Args:
        embedding: The model.
        report: The figures measured when the bundle was built, or None if they are not known. A cosine that is lower
            than the measured one by more than processors differ is wrong, even if it passes the gate.
    """
    agreement, gate = embedding.check_golden(), embedding.gate
    info = embedding.info
    if agreement is None or gate is None:
        return GoldenCheck(
            model=info.model, variant=info.variant, state="unproved", details="the model has no golden vectors"
        )
    built = None if report is None else report.of(info.model, info.variant)
    required = gate.required_cosine if built is None else max(gate.required_cosine, built.minimum_cosine - MAX_DRIFT)
    then = "not measured here when it was built" if built is None else f"when it was built {built.minimum_cosine:.5f}"
    return GoldenCheck(
        model=info.model,
        variant=info.variant,
        state="right" if agreement.reaches(required) else "wrong",
        details=f"{agreement}; required {required:.5f}, {then}",
    )


def check_answer(embedding: Embedding, report: Report | None = None) -> list[GoldenCheck]:
    """Encode the golden texts with the model that answers, and list the variants that were skipped as wrong.

    Args:
        embedding: The model that answers.
        report: As for :func:`check_loaded`.
    """
    passed_over = [
        GoldenCheck(model=attempt.model, variant=attempt.variant, state="wrong", details=attempt.reason)
        for attempt in embedding.info.attempts
        if attempt.variant is not None and attempt.error not in (None, BackendUnavailableError.__name__)
    ]
    return [*passed_over, check_loaded(embedding, report)]


def check_variants(
    place: BundlePlace, manifest: Manifest, name: str | None, *, report: Report | None, timeout: float
) -> list[GoldenCheck]:
    """Load every variant of a model, or of all models, in turn, and encode the golden texts with it.

    Args:
        place: The bundle.
        manifest: Its manifest.
        name: Model name or alias; None for all models of the bundle.
        report: As for :func:`check_loaded`.
        timeout: Seconds for loading each variant.

    Raises:
        ThothModelsError: There is an error in the bundle or the name.
    """
    checks = []
    for model in manifest.models.values() if name is None else [select(manifest, name).model]:
        if model.built is None:
            checks.append(_check_absent(manifest, model.name))
        else:
            checks += [_check_variant(place, model.name, one.name, timeout, report) for one in model.built.variants]
    return checks


def _check_absent(manifest: Manifest, model: str) -> GoldenCheck:
    try:
        candidates = select(manifest, model).candidates
    except SpaceMismatchError:
        candidates = ()
    if not candidates:
        return GoldenCheck(model=model, variant=None, state="wrong", details="it is absent, and no model stands in")
    first = candidates[0]
    space = "" if first.same_space else ", with vectors of another embedding space"
    details = f"no source delivered it; {first.model.name} stands in{space}"
    return GoldenCheck(model=model, variant=None, state="absent", details=details)


def _check_variant(place: BundlePlace, model: str, variant: str, timeout: float, report: Report | None) -> GoldenCheck:
    try:
        # Of the same space only: another model would not test this variant.
        embedding = load_embedding(
            model,
            root=place.path,
            variants=[variant],
            same_space=True,
            expect_digest=place.expect_digest,
            min_release=place.min_release,
            timeout=timeout,
        )
    except ModelUnavailableError as error:
        attempts = error.attempts
    else:
        if embedding.info.model == model:
            return check_loaded(embedding, report)
        attempts = embedding.info.attempts
    attempt = next(attempt for attempt in attempts if (attempt.model, attempt.variant) == (model, variant))
    is_absent = attempt.error == BackendUnavailableError.__name__
    return GoldenCheck(
        model=model, variant=variant, state="unavailable" if is_absent else "wrong", details=attempt.reason
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class QuickCheck:
    """The variant that would answer for a model, as far as that is known without reading model files.

    Attributes:
        model: Name of the model that would answer.
        variant: Name of its variant.
        bundle_digest: sha256 of the bundle's manifest, 64 hexadecimal digits.
        files: Number of its files; all exist, are readable, and have the right length.
        bytes: Their total length.
        passed_over: Every variant before it that could not answer, each with its reason.
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
    place: BundlePlace,
    name: str | None = None,
    *,
    variants: Sequence[str] | None = None,
    same_space: bool = False,
    expect_space: str | None = None,
) -> QuickCheck:
    """Find out which variant would answer, within milliseconds, for the health check of a container.

    The check is that the manifest matches the checksum list; that each file of the variant is a regular file of the
    right length that this user may read, with no other files beside them; and that the libraries are installed. No
    library is imported, and no content is compared; every load does that.

    Raises:
        ModelUnavailableError: No variant can answer; has each attempt.
        ThothModelsError: There is an error in the bundle, the name or ``THOTH_MODELS_THREADS``.
    """
    threads()
    bundle = open_place(place)
    selection = select(bundle.manifest, name, variants=variants, same_space=same_space, expect_space=expect_space)
    attempts = list(selection.passed_over)
    for candidate in selection.candidates:
        paths = _paths(candidate)
        problems = [str(problem) for problem in islice(_differences(bundle, candidate, paths), MAX_SHOWN)]
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


def names_to_check(place: BundlePlace, name: str | None) -> tuple[str | None, ...]:
    """Return the models to check: ``name``, or the default; in a bundle without a default, every model in it.

    Raises:
        ThothModelsError: There is an error in the bundle.
    """
    manifest = open_place(place).manifest
    built = tuple(model.name for model in manifest.models.values() if model.built is not None)
    return (name,) if name is not None or manifest.default is not None or not built else built


def _paths(candidate: Candidate) -> list[str]:
    record = candidate.built.record
    return [*candidate.variant.files, *([] if record is None else [record.golden])]


def _differences(bundle: OpenBundle, candidate: Candidate, paths: Sequence[str]) -> Iterator[Problem]:
    seen = set()
    for problem in check_tree(bundle.root, candidate.variant.directory, set(candidate.variant.files)):
        seen.add(problem.path)
        yield problem
    for path in paths:
        if path in seen:
            continue
        try:
            with RegularFile(bundle.root, path) as file:
                problem_of_size = file.wrong_size(bundle.manifest.files[path])
        except (OSError, NotRegularError) as error:
            yield unread(path, error)
        else:
            if problem_of_size is not None:
                yield problem_of_size
