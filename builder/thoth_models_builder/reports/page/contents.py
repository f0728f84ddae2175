"""Everything that the page says, as plain facts; the template only arranges them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thoth_models_builder.reports.bundle_diff import MEANINGS

if TYPE_CHECKING:
    from thoth_models_builder.reports.bundle_diff import BundleDiff, ModelDiff
    from thoth_models_builder.reports.page.benchmarks import PageRun
    from thoth_models_builder.reports.page.models import PageModel

LayerState = Literal["kept", "changed", "new"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A difference between the bundle and its manifest, or a permission to warn of."""

    path: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """The result of comparing every file of the bundle with its manifest.

    Attributes:
        files: Number of files that were compared; 0 if there are problems.
        bytes: Their total length.
        problems: What differs; empty for an intact bundle.
        warnings: Entries that other users than their owner may write.
    """

    files: int
    bytes: int
    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLayer:
    """A layer of the image that this bundle becomes.

    Attributes:
        name: Its name.
        size: Its length in bytes.
        files: Number of files in it.
        input_digest: Digest of everything that its bytes follow from: paths, contents, modes.
        state: Whether an image of the old bundle has it; None without an old bundle.
    """

    name: str
    size: int
    files: int
    input_digest: str
    state: LayerState | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What changes from an old bundle to this one.

    Attributes:
        name: Name of the old bundle.
        bundle_digest: Its digest.
        diff: The differences, with a verdict for each name.
        gone: Names of the layers that only the old image has.
        pulled: Bytes of layers that a host fetches that has the old image.
    """

    name: str
    bundle_digest: str
    diff: BundleDiff
    gone: tuple[str, ...]
    pulled: int

    @property
    def lost(self) -> tuple[str, ...]:
        """The names whose vectors do not fit those that were indexed before."""
        models = [model.name for model in self.diff.models if model.verdict in _REINDEX]
        names = [name.name or "the default" for name in self.diff.names if name.verdict in _REINDEX]
        return (*models, *names)

    @property
    def changed_models(self) -> tuple[ModelDiff, ...]:
        """The models of which anything differs."""
        return tuple(
            model
            for model in self.diff.models
            if model.verdict != "same vectors" or model.changes or model.added or model.removed or model.changed
        )

    @property
    def meanings(self) -> dict[str, str]:
        """What each verdict means, in words."""
        return {str(verdict): meaning for verdict, meaning in MEANINGS.items()}


_REINDEX = ("new space", "removed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The page.

    Attributes:
        name: Name of the bundle.
        default: Name of its default model, or None.
        bundle_release: Number of its release, or None.
        bundle_digest: sha256 of its manifest.
        set_digest: sha256 of its checksum list.
        verification: Whether it is intact.
        models: Every model, sorted by name.
        layers: Layers of its image, lowest first.
        has_report: Whether there is a report with measured figures beside it.
        report_note: Why such a report was ignored, or None.
        comparison: What changes from an old bundle; None if there is none.
        runs: Runs of the benchmarks; None if no file of results was given.
        release: Release of the builder that made the page.
    """

    name: str
    default: str | None
    bundle_release: int | None
    bundle_digest: str
    set_digest: str
    verification: Verification
    models: tuple[PageModel, ...]
    layers: tuple[PageLayer, ...]
    has_report: bool
    report_note: str | None
    comparison: Comparison | None
    runs: tuple[PageRun, ...] | None
    release: str

    @property
    def bytes(self) -> int:
        """Total length of the layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def largest(self) -> int:
        """Length of the largest layer: that of the longest bar."""
        return max(layer.size for layer in self.layers)

    @property
    def variants(self) -> int:
        """Number of variants of all models."""
        return sum(len(model.built.variants) for model in self.models if model.built is not None)

    @property
    def absent(self) -> tuple[PageModel, ...]:
        """The models that the bundle was built without."""
        return tuple(model for model in self.models if model.built is None)
