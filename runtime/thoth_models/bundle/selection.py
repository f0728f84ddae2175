"""Select which models and variants may answer a request, in which order, and why the others may not.

Pure: a manifest and a request in, a plan out. Loading then tries the candidates of the plan until one works.

The rules: the variants of a model share its space, so any of them may answer. Another model may answer only if it is
listed as an alternate, has the same dimension, and either has the same space or is listed with ``other_space: accept``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.digest import Digest
from thoth_models.errors import Attempt, InvalidInputError, SpaceMismatchError, UnknownModelError
from thoth_models.inputs import expect_items

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.bundle.manifest import BuiltModel, Manifest, Model, Variant


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One variant that may answer.

    Attributes:
        model: The model of the variant.
        built: That model's files and settings.
        variant: The variant.
        same_space: Whether its vectors belong to the space of the requested model.
    """

    model: Model
    built: BuiltModel
    variant: Variant
    same_space: bool

    @property
    def place(self) -> str:
        """Model and variant, for messages."""
        return f"{self.model.name}/{self.variant.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The plan for one request.

    Attributes:
        requested: Name as the caller gave it; the default model's name if none was given.
        model: The model that this name stands for.
        candidates: The variants that may answer, best first; may be empty.
        passed_over: The variants and models that may not, each with its reason, in the order they were considered.
    """

    requested: str
    model: Model
    candidates: tuple[Candidate, ...]
    passed_over: tuple[Attempt, ...]


def select(
    manifest: Manifest,
    name: str | None,
    *,
    variants: Sequence[str] | None = None,
    same_space: bool = False,
    expect_space: str | None = None,
) -> Selection:
    """Return which variants may answer a request for ``name``, in order.

    Args:
        manifest: The manifest of the bundle.
        name: A model name or alias; None for the bundle's default.
        variants: Names of the variants that the caller accepts, in order of preference; None for those of models.yaml.
        same_space: Refuse alternates of another space, even if models.yaml accepts them.
        expect_space: The space that the vectors must belong to, 64 hexadecimal digits; None for that of the model.
            Models of another space are refused, including the requested one; alternates of this space are accepted.

    Raises:
        UnknownModelError: No model or alias has that name, or none was given and the bundle has no default.
        InvalidInputError: ``variants`` is empty, or names one that no model of the bundle has; or ``expect_space`` is
            not a space.
        SpaceMismatchError: The only models that could answer are refused because of their space or dimension.
    """
    requested, model = _find(manifest, name)
    wanted = _check_variants(manifest, variants)
    expected = None if expect_space is None else _space(expect_space)
    candidates: list[Candidate] = []
    passed_over: list[Attempt] = []
    space_refused = False
    for standing_in, accepted in _order(manifest, model):
        if standing_in.built is None:
            passed_over.append(Attempt(model=standing_in.name, variant=None, reason=ABSENT))
            continue
        space = standing_in.built.space
        # The expected space also applies if the model itself is absent from the bundle.
        meant = expected or (model.built.space if model.built is not None else None)
        same = space == meant or (expected is None and standing_in is model)
        if expected is not None and not same:
            reason: str | None = f"its space is {space.short}, and the call expects {expected.short}"
        else:
            reason = _space_refusal(model, standing_in, same=same, accepted=accepted, same_space=same_space)
        if reason is not None:
            passed_over.append(Attempt(model=standing_in.name, variant=None, reason=reason))
            space_refused = True
            continue
        chosen, skipped = _variants(standing_in.built, wanted)
        passed_over.extend(Attempt(model=standing_in.name, variant=skip, reason=NOT_ASKED_FOR) for skip in skipped)
        candidates.extend(
            Candidate(model=standing_in, built=standing_in.built, variant=variant, same_space=same)
            for variant in chosen
        )
    if space_refused and not candidates:
        reasons = "\n".join(f"  {attempt}" for attempt in passed_over)
        raise SpaceMismatchError(f"no model of the embedding space of {requested!r} can answer:\n{reasons}")
    return Selection(requested=requested, model=model, candidates=tuple(candidates), passed_over=tuple(passed_over))


DEFAULT = "default"
"""The name that means the bundle's default model, if no model or alias has that name."""

ABSENT = "absent: the bundle was built without it, because no source delivered it"
NOT_ASKED_FOR = "not among the variants that the caller accepts"


def expected_space(manifest: Manifest, name: str | None, spaces: Mapping[str, str]) -> str | None:
    """Return the space that the caller expects for ``name``; None if the caller expects none.

    Args:
        manifest: The manifest of the bundle.
        name: A model name or alias; None for the bundle's default.
        spaces: The expected space, by name of a model. It also applies to the other names of that model, except those
            that are listed themselves.

    Raises:
        InvalidInputError: The bundle has no model of a name in ``spaces``; or ``name`` is not listed there, and the
            other names of its model have different spaces.
    """
    if not spaces:
        return None
    names = manifest.names()
    models = {key: names.get(key, manifest.default if key == DEFAULT else None) for key in spaces}
    if unknown := [key for key, model in models.items() if model is None]:
        raise InvalidInputError(
            f"expect_spaces: expected names of models of the bundle {manifest.name!r}, found {unknown[0]!r}; "
            f"known: {', '.join(sorted(names))}"
        )
    own = DEFAULT if name is None and DEFAULT not in names else name
    if own is not None and own in spaces:
        return spaces[own]
    model = manifest.default if name is None else names.get(name)
    found = {space for other, space in spaces.items() if models[other] == model}
    if len(found) > 1:
        raise InvalidInputError(f"expect_spaces: expected one space for the names of {model!r}, found {len(found)}")
    return next(iter(found), None)


def model_of(manifest: Manifest, name: str | None) -> str:
    """Return the name of the model that ``name``, a model or an alias, stands for; None for the bundle's default.

    Raises:
        UnknownModelError: There is no such model, or no default.
    """
    return _find(manifest, name)[1].name


def _find(manifest: Manifest, name: object) -> tuple[str, Model]:
    if name is None:
        if manifest.default is None:
            raise UnknownModelError(f"no name given, and the bundle {manifest.name!r} has no default model")
        return manifest.default, manifest.models[manifest.default]
    if not isinstance(name, str):
        raise InvalidInputError(f"name: expected a str or None, found {type(name).__name__}")
    names = manifest.names()
    if name in names:
        return name, manifest.models[names[name]]
    import difflib  # noqa: PLC0415 - for this message only, and importing this package must stay quick

    # A cutoff of 0 keeps all names, even those that have no character in common with this one.
    ordered = difflib.get_close_matches(name, names, n=max(len(names), 1), cutoff=0.0)
    raise UnknownModelError(
        f"no model or alias {name!r} in the bundle {manifest.name!r}; known, the nearest first: "
        + (", ".join(ordered) or "none")
    )


def _space(expect_space: object) -> Digest:
    try:
        return Digest(expect_space)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"expect_space: expected a space of 64 lower-case hexadecimal digits, found {expect_space!r}"
        ) from error


def listed_variants(variants: object) -> tuple[Any, ...] | None:
    """Return names of variants as a tuple, which the caller cannot change; None stays.

    Raises:
        InvalidInputError: It is a str, no iterable or one without an order, or has no item.
    """
    if variants is None:
        return None
    if isinstance(variants, str):
        raise InvalidInputError(f"variants: expected a sequence of variant names, found the one string {variants!r}")
    # Not a set: they are in order of preference.
    wanted = tuple(expect_items("variants", "a sequence of variant names", variants))
    if not wanted:
        raise InvalidInputError("variants: expected at least one variant name or None, found an empty sequence")
    return wanted


def _check_variants(manifest: Manifest, variants: object) -> list[str] | None:
    wanted = listed_variants(variants)
    if wanted is None:
        return None
    known = {
        variant.name
        for model in manifest.models.values()
        if model.built is not None
        for variant in model.built.variants
    }
    # Not a set, because a value that a caller passes may not be hashable.
    if unknown := [variant for variant in wanted if variant not in sorted(known)]:
        names = ", ".join(sorted(known)) or "none"
        raise InvalidInputError(f"variants: expected names among {names}, found {', '.join(map(repr, unknown))}")
    return [str(variant) for variant in wanted]


def _order(manifest: Manifest, model: Model) -> list[tuple[Model, bool]]:
    """Return all models that may answer for a model, itself first, and whether a chain of alternates accepts each."""
    accepted = _reachable(manifest, model, accepting_only=True)
    return [(manifest.models[name], name in accepted) for name in _reachable(manifest, model, accepting_only=False)]


def _reachable(manifest: Manifest, model: Model, *, accepting_only: bool) -> dict[str, None]:
    """Return the names of all alternates, in order; each is followed by its own alternates."""
    names: dict[str, None] = {}
    pending = [model.name]
    while pending:
        name = pending.pop()
        if name not in names:
            names[name] = None
            pending += [
                alternate.model
                for alternate in reversed(manifest.models[name].alternates)
                if alternate.accepts_other_space or not accepting_only
            ]
    return names


def _space_refusal(model: Model, other: Model, *, same: bool, accepted: bool, same_space: bool) -> str | None:
    if same:
        return None
    if same_space:
        return f"its space is not that of {model.name!r}, and the call asked for the same space"
    if not accepted:
        return f"its space is not that of {model.name!r}, and models.yaml does not say `other_space: accept`"
    if other.dimension != model.dimension:
        return f"its vectors have {other.dimension} dimensions, those of {model.name!r} have {model.dimension}"
    return None


def _variants(built: BuiltModel, names: Sequence[str] | None) -> tuple[list[Variant], list[str]]:
    if names is None:
        return list(built.variants), []
    by_name = {variant.name: variant for variant in built.variants}
    chosen = [by_name[name] for name in dict.fromkeys(names) if name in by_name]
    return chosen, [variant.name for variant in built.variants if variant not in chosen]
