"""Whether variants give on this machine the vectors that they gave when the bundle was built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thoth_models.errors import BackendUnavailableError, InvalidInputError, ModelUnavailableError
from thoth_models.loading import load_embedding
from thoth_models.selection import select
from thoth_models.verify import open_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.embedding import Embedding


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
