"""Compare two bundles, and decide what the differences mean for vectors that are already in an index.

Pure: two manifests in, and the measured figures where they are known; a comparison out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from thoth_models.bundle.selection import select
from thoth_models.errors import CallerError

if TYPE_CHECKING:
    from thoth_models.bundle.accuracy import Accuracy, Gate
    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import BuiltModel, Manifest, Model
    from thoth_models.bundle.report import Report

Verdict = Literal["same vectors", "same space", "new space", "added", "removed", "absent"]

MEANINGS: dict[Verdict, str] = {
    "same vectors": "the same files answer first, and give the same vectors; nothing to index again",
    "same space": "the same space from other files; vectors differ by no more than the gates allow, no re-index",
    "new space": "other vectors: everything that was indexed with the old ones must be indexed again",
    "added": "nothing answered to this name before",
    "removed": "nothing answers to this name any more",
    "absent": "nothing answered to this name before, and nothing does now",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A changed property, with both values as text."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDiff:
    """The differences in one model.

    Attributes:
        name: Name of the model.
        verdict: Meaning for the vectors that callers of this name get, from whichever model; see :data:`MEANINGS`.
        changes: Licence, dimension, maximum length, space, variants and similar properties that differ.
        added: New paths, sorted.
        removed: Removed paths, sorted.
        changed: Paths with other content, sorted.
        bytes: Total length of the added and changed files, in bytes.
    """

    name: str
    verdict: Verdict
    changes: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NameDiff:
    """An alias, or the default (named None), with the ``model/variant`` that answers to it, or None."""

    name: str | None
    before: str | None
    after: str | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleDiff:
    """The differences between two bundles.

    Attributes:
        changes: Name, default model and release, where they differ.
        models: Every model of either bundle, sorted by name.
        names: Aliases and the default, if another variant answers to them, or none does any more.
        needs_reindex: Whether a name that gave vectors before gives vectors of another space now, or none.
    """

    changes: tuple[Change, ...]
    models: tuple[ModelDiff, ...]
    names: tuple[NameDiff, ...]
    needs_reindex: bool


def diff(before: Manifest, after: Manifest, reports: tuple[Report | None, Report | None] = (None, None)) -> BundleDiff:
    """Compare two bundles by their manifests, and by the measured figures of both.

    A verdict is about a name, not about a model: it depends on which model answers to the name, also through an alias
    or as a stand-in for an absent model.

    Args:
        before: Manifest of the old bundle.
        after: Manifest of the new bundle.
        reports: Measured figures of each; figures of only one of them are ignored.
    """
    models = tuple(_model(name, before, after, reports) for name in sorted({*before.models, *after.models}))
    names: list[str | None] = [*sorted(({*before.names(), *after.names()}) - {model.name for model in models}), None]
    moved = tuple(found for name in names if (found := _name(name, before, after)) is not None)
    verdicts = [model.verdict for model in models] + [name.verdict for name in moved]
    return BundleDiff(
        changes=tuple(
            _changes(
                {
                    "name": (before.name, after.name),
                    "default model": (before.default, after.default),
                    "release": (before.release, after.release),
                }
            )
        ),
        models=models,
        names=moved,
        needs_reindex=any(verdict in ("new space", "removed") for verdict in verdicts),
    )


def _model(name: str, before: Manifest, after: Manifest, reports: tuple[Report | None, Report | None]) -> ModelDiff:
    prefix = f"{name}/"
    files = {path: content.sha256 for path, content in before.files.items() if path.startswith(prefix)}
    now = {path: content for path, content in after.files.items() if path.startswith(prefix)}
    added = sorted(now.keys() - files.keys())
    changed = sorted(path for path in now.keys() & files.keys() if now[path].sha256 != files[path])
    return ModelDiff(
        name=name,
        verdict=_verdict(_answer(name, before), _answer(name, after)),
        changes=(*_facts(before.models.get(name), after.models.get(name)), *_measured(name, *reports)),
        added=tuple(added),
        removed=tuple(sorted(files.keys() - now.keys())),
        changed=tuple(changed),
        bytes=sum(now[path].size for path in (*added, *changed)),
    )


def _name(name: str | None, before: Manifest, after: Manifest) -> NameDiff | None:
    old, new = _answer(name, before), _answer(name, after)
    verdict = _verdict(old, new)
    if (old is None and new is None) or verdict == "same vectors":
        return None
    return NameDiff(
        name=name,
        before=None if old is None else old.place,
        after=None if new is None else new.place,
        verdict=verdict,
    )


class _Answer(NamedTuple):
    """The first candidate for a name: its place, its space, and everything that its vectors depend on."""

    place: str
    space: Digest
    content: tuple[object, ...]


def _answer(name: str | None, manifest: Manifest) -> _Answer | None:
    try:
        candidates = select(manifest, name).candidates
    except CallerError:
        return None  # no such name, no default, or no model that may stand in
    if not candidates:
        return None
    model, built, variant = candidates[0].model, candidates[0].built, candidates[0].variant
    prefix = f"{model.name}/"
    files = tuple((path.removeprefix(prefix), manifest.files[path].sha256.hex) for path in variant.files)
    content = (variant.name, files, built.normalize, built.default_prompt_name, sorted(built.prompts.items()))
    return _Answer(f"{model.name}/{variant.name}", built.space, content)


def _verdict(old: _Answer | None, new: _Answer | None) -> Verdict:
    if old is None:
        return "absent" if new is None else "added"
    if new is None:
        return "removed"
    if old.space != new.space:
        return "new space"
    return "same vectors" if old.content == new.content else "same space"


def _facts(old: Model | None, new: Model | None) -> list[Change]:
    if old is None or new is None:
        return []
    pairs: dict[str, tuple[object, object]] = {
        "dimension": (old.dimension, new.dimension),
        "alternates": (_alternates(old), _alternates(new)),
        "aliases": (", ".join(old.aliases), ", ".join(new.aliases)),
    }
    if old.built is not None and new.built is not None:
        first, now = _properties(old.built), _properties(new.built)
        pairs |= {what: (first[what], now[what]) for what in first}
    return _changes(pairs)


def _measured(name: str, before: Report | None, after: Report | None) -> list[Change]:
    """Return the changes in the measured accuracy of variants that both reports have."""
    if before is None or after is None:
        return []
    old, new = before.models.get(name, {}), after.models.get(name, {})
    return _changes(
        {
            f"accuracy of {variant}": (_figures(old[variant]), _figures(new[variant]))
            for variant in old
            if variant in new
        }
    )


def _figures(accuracy: Accuracy) -> str:
    # Rounded, because the last digits differ between processors that built the same bundle.
    return f"cosine at least {accuracy.minimum_cosine:.4f}, neighbours {accuracy.neighbour_agreement:.2f} the same"


def _properties(built: BuiltModel) -> dict[str, object]:
    origin = built.origin
    return {
        "origin": f"{origin.kind}:{origin.id}" + (f"@{origin.revision}" if origin.revision else ""),
        "licence": built.license,
        "maximum length": built.max_seq_length,
        "pooling": built.pooling,
        "unit length": built.normalize,
        "similarity": built.similarity,
        "prompts": ", ".join(f"{name}={text!r}" for name, text in sorted(built.prompts.items())),
        "default prompt": built.default_prompt_name,
        "configured": "; ".join(f"{file.path} ({', '.join(file.reasons)})" for file in built.configured),
        "space": built.space.hex,
        "variants": ", ".join(variant.name for variant in built.variants),
        "gates": ", ".join(f"{variant.name} {_gate(variant.gate)}" for variant in built.variants if variant.gate),
        "toolchain": "none"
        if built.record is None
        else ", ".join(f"{name} {version}" for name, version in sorted(built.record.toolchain.items())),
    }


def _gate(gate: Gate) -> str:
    agreement = "" if gate.required_agreement is None else f" and neighbours {gate.required_agreement:.3f} the same"
    return f"cosine {gate.required_cosine:.5f}{agreement}"


def _alternates(model: Model) -> str:
    return ", ".join(
        f"{alternate.model} ({'other space' if alternate.accepts_other_space else 'same space'})"
        for alternate in model.alternates
    )


def _changes(pairs: dict[str, tuple[object, object]]) -> list[Change]:
    return [
        Change(what=what, before=_text(first), after=_text(now)) for what, (first, now) in pairs.items() if first != now
    ]


def _text(value: object) -> str:
    return "none" if value in (None, "") else str(value)
