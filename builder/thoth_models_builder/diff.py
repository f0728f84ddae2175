"""What changes between two bundles, and what that means for vectors that are already in an index.

Pure: two manifests in, a report out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from thoth_models.manifest import BuiltModel, Manifest, Model

Verdict = Literal["same vectors", "same space", "new space", "added", "removed", "now absent", "unknown"]

MEANINGS: dict[Verdict, str] = {
    "same vectors": "the same files are loaded, and give the same vectors; nothing to do",
    "same space": "the same space from other files; vectors differ by no more than the recorded accuracy, no re-index",
    "new space": "other vectors: everything that was indexed with the old ones must be indexed again",
    "added": "was not there before",
    "removed": "is not there any more, and will not load",
    "now absent": "its sources did not deliver; what stands in for it belongs to another space",
    "unknown": "was absent before, so nothing is known of the vectors of its stand-ins here",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that is another one now, both as text."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDiff:
    """What changes in one model.

    Attributes:
        name: Its name.
        verdict: What that means for its vectors, see :data:`MEANINGS`.
        changes: Licence, dimension, maximum length, space and the like, where they differ.
        added: Paths that are new, sorted.
        removed: Paths that are gone, sorted.
        changed: Paths with another content, sorted.
        bytes: Length in bytes of all that is new or has another content.
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
    """A name or alias that stands for another model than before, or for none."""

    name: str
    before: str | None
    after: str | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleDiff:
    """What changes between two bundles.

    Attributes:
        changes: Name and default model, where they differ.
        models: Every model of either bundle, sorted by name.
        names: Names and aliases that move between models, sorted.
        needs_reindex: Whether some name gives vectors of another space, or none at all, where it gave some before.
    """

    changes: tuple[Change, ...]
    models: tuple[ModelDiff, ...]
    names: tuple[NameDiff, ...]
    needs_reindex: bool


def diff(before: Manifest, after: Manifest) -> BundleDiff:
    """Compare two bundles by what their manifests say."""
    names = sorted({*before.models, *after.models})
    models = tuple(_model(name, before, after) for name in names)
    moved = tuple(_names(before, after))
    verdicts = [model.verdict for model in models] + [name.verdict for name in moved]
    breaking = ("new space", "removed", "now absent")
    return BundleDiff(
        changes=tuple(_changes({"name": (before.name, after.name), "default model": (before.default, after.default)})),
        models=models,
        names=moved,
        needs_reindex=any(verdict in breaking for verdict in verdicts),
    )


def _model(name: str, before: Manifest, after: Manifest) -> ModelDiff:
    old, new = before.models.get(name), after.models.get(name)
    prefix = f"{name}/"
    files = {path: content.sha256 for path, content in before.files.items() if path.startswith(prefix)}
    now = {path: content for path, content in after.files.items() if path.startswith(prefix)}
    added = sorted(now.keys() - files.keys())
    changed = sorted(path for path in now.keys() & files.keys() if now[path].sha256 != files[path])
    return ModelDiff(
        name=name,
        verdict=_verdict(old, new, before, after),
        changes=tuple(_facts(old, new)),
        added=tuple(added),
        removed=tuple(sorted(files.keys() - now.keys())),
        changed=tuple(changed),
        bytes=sum(now[path].size for path in (*added, *changed)),
    )


def _verdict(old: Model | None, new: Model | None, before: Manifest, after: Manifest) -> Verdict:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old.built is None:
        return "unknown"
    if new.built is None:
        return "now absent"
    if old.built.space != new.built.space:
        return "new space"
    first, now = _first(old, old.built, before), _first(new, new.built, after)
    return "same vectors" if first == now and old.built.normalize == new.built.normalize else "same space"


def _first(model: Model, built: BuiltModel, manifest: Manifest) -> tuple[str, dict[str, str]]:
    """Return what is loaded unless the caller wants otherwise: the first variant, and its files' digests."""
    variant = built.variants[0]
    prefix = f"{model.name}/"
    return variant.name, {path.removeprefix(prefix): manifest.files[path].sha256.hex for path in variant.files}


def _names(before: Manifest, after: Manifest) -> list[NameDiff]:
    old, new = before.names(), after.names()
    found = []
    for name in sorted({*old, *new}):
        first, now = old.get(name), new.get(name)
        # A model that came or went with its own name is told of as a model.
        if first == now or name in (first, now):
            continue
        verdict = _verdict(
            None if first is None else before.models[first], None if now is None else after.models[now], before, after
        )
        found.append(NameDiff(name=name, before=first, after=now, verdict=verdict))
    return found


def _facts(old: Model | None, new: Model | None) -> list[Change]:
    if old is None or new is None:
        return []
    pairs: dict[str, tuple[object, object]] = {
        "dimension": (old.dimension, new.dimension),
        "alternates": (_alternates(old), _alternates(new)),
        "aliases": (", ".join(old.aliases), ", ".join(new.aliases)),
    }
    if old.built is not None and new.built is not None:
        first, now = _told(old.built), _told(new.built)
        pairs |= {what: (first[what], now[what]) for what in first}
    return _changes(pairs)


def _told(built: BuiltModel) -> dict[str, object]:
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
        "space": built.space.hex,
        "variants": ", ".join(variant.name for variant in built.variants),
        "toolchain": "none"
        if built.proof is None
        else ", ".join(f"{name} {version}" for name, version in sorted(built.proof.toolchain.items())),
    }


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
