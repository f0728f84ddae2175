"""What the page says about each model. Pure: the manifest, the report and the golden vectors in, plain facts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models.bundle.selection import select
from thoth_models.errors import CallerError
from thoth_models_builder.reports.page.dot_plot import DotPlot, dot_plot
from thoth_models_builder.spec.licences.names import other_spdx
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.bundle.accuracy import Accuracy
    from thoth_models.bundle.golden import Golden
    from thoth_models.bundle.manifest import BuiltModel, Manifest, Model, Variant
    from thoth_models.bundle.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """A file of the bundle: path below its root, length in bytes, sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PageAlternate:
    """A model that may stand in: its name, whether in another space too, and whether the bundle has it."""

    model: str
    accepts_other_space: bool
    is_present: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PageVariant:
    """One variant of a model.

    Attributes:
        name: Its name.
        backend: Library that runs it.
        precision: Number format of its weights.
        files: Number of its files.
        bytes: Their total length.
        required_cosine: Cosine that every golden text had to reach, or None without golden vectors.
        required_agreement: Share of nearest neighbours that had to be the same, or None if that was no condition.
        figures: What was measured, or None if that is not known here.
    """

    name: str
    backend: str
    precision: str
    files: int
    bytes: int
    required_cosine: float | None
    required_agreement: float | None
    figures: Accuracy | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenText:
    """A golden text: its number from 1, prompt, text, and the cosine of each measured variant."""

    number: int
    prompt: str
    text: str
    cosines: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredTexts:
    """The cosines of the golden texts.

    Attributes:
        variants: Names of the variants that have them.
        plot: Their dot plot.
        texts: Every golden text, in the order of the file.
    """

    variants: tuple[str, ...]
    plot: DotPlot
    texts: tuple[GoldenText, ...]

    @property
    def lowest(self) -> tuple[GoldenText, ...]:
        """The three texts with the lowest cosines, of those that have one below 1."""
        found = sorted(self.texts, key=lambda text: min(text.cosines))
        return tuple(text for text in found[:3] if min(text.cosines) < 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageBuilt:
    """A model whose files are in the bundle.

    Attributes:
        license: Licence as published, or None.
        spdx: What SPDX calls it, if that is more than another case; else None.
        space: Identity of its embedding space.
        max_tokens: Longest input in tokens, or None for no limit.
        pooling: How token vectors become one.
        is_unit_length: Whether vectors are normalised.
        similarity: Similarity function that it was published for.
        prompts: Name, text, and whether it is the default, of each prompt.
        origin_kind: ``hub``, ``wheel`` or ``directory``.
        origin_id: Repository, requirement or path.
        revision: Commit, or None if the source has none.
        configured: Path, reasons and sha256 of the origin's file (None for an added one) of each source file that
            differs from the origin's.
        source_files: Files as published or configured; empty if the bundle has only what was derived from them.
        derived_files: Files that the builder made: graphs, tokenizers, golden vectors.
        cache_key: Digest of everything that decides the derived files; None if there are none.
        toolchain: Name and version of everything that took part in making them.
        omitted: Name of each variant that could not be made, with the reason.
        variants: In order of preference.
        measured: The cosines of the golden texts, or None.
        unmeasured: Why there are none; empty if there are.
    """

    license: str | None
    spdx: str | None
    space: str
    max_tokens: int | None
    pooling: str
    is_unit_length: bool
    similarity: str
    prompts: tuple[tuple[str, str, bool], ...]
    origin_kind: str
    origin_id: str
    revision: str | None
    configured: tuple[tuple[str, tuple[str, ...], str | None], ...]
    source_files: tuple[PageFile, ...]
    derived_files: tuple[PageFile, ...]
    cache_key: str | None
    toolchain: tuple[tuple[str, str], ...]
    omitted: tuple[tuple[str, str], ...]
    variants: tuple[PageVariant, ...]
    measured: MeasuredTexts | None
    unmeasured: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PageModel:
    """A model of models.yaml.

    Attributes:
        name: Its name.
        is_default: Whether it answers where a caller names no model.
        dimension: Length of its vectors.
        aliases: Its other names.
        alternates: Models that may stand in, in order of preference.
        answers: ``model/variant`` that answers first to its name, or None if nothing does.
        bytes: Total length of its files.
        built: What the bundle has of it, or None if it is absent.
    """

    name: str
    is_default: bool
    dimension: int
    aliases: tuple[str, ...]
    alternates: tuple[PageAlternate, ...]
    answers: str | None
    bytes: int
    built: PageBuilt | None


NO_GOLDEN = "The bundle has no golden vectors of this model, so its variants were not measured."
NO_REPORT = "There is no report beside the bundle, so what was measured is not known here."
NO_COSINES = "The report beside the bundle has no cosine for each golden text; builds of this release record them."
NOT_READ = "The golden vectors could not be read, so the measured cosines cannot be shown text by text."


def page_models(manifest: Manifest, report: Report | None, golden: Mapping[str, Golden]) -> tuple[PageModel, ...]:
    """Return the facts about every model, sorted by name.

    Args:
        manifest: The manifest of the bundle.
        report: The report beside it, or None.
        golden: Golden vectors by model; those that could not be read are missing.
    """
    return tuple(_model(manifest, model, report, golden.get(name)) for name, model in sorted(manifest.models.items()))


def _model(manifest: Manifest, model: Model, report: Report | None, golden: Golden | None) -> PageModel:
    try:
        candidates = select(manifest, model.name).candidates
    except CallerError:
        candidates = ()  # the models that could stand in are refused because of their space or dimension
    prefix = f"{model.name}/"
    return PageModel(
        name=model.name,
        is_default=model.name == manifest.default,
        dimension=model.dimension,
        aliases=model.aliases,
        alternates=tuple(
            PageAlternate(
                model=alternate.model,
                accepts_other_space=alternate.accepts_other_space,
                is_present=manifest.models[alternate.model].built is not None,
            )
            for alternate in model.alternates
        ),
        answers=candidates[0].place if candidates else None,
        bytes=sum(content.size for path, content in manifest.files.items() if path.startswith(prefix)),
        built=None if model.built is None else _built(manifest, model.name, model.built, report, golden),
    )


def _built(manifest: Manifest, name: str, built: BuiltModel, report: Report | None, golden: Golden | None) -> PageBuilt:
    files = [
        PageFile(path=path, size=content.size, sha256=content.sha256.hex)
        for path, content in sorted(manifest.files.items())
        if path.startswith(f"{name}/")
    ]
    source = f"{name}/{SOURCE_DIRECTORY}/"
    variants = tuple(_variant(manifest, name, variant, report) for variant in built.variants)
    measured, unmeasured = _measured(built, variants, report, golden)
    record = built.record
    return PageBuilt(
        license=built.license,
        spdx=other_spdx(built.license),
        space=built.space.hex,
        max_tokens=built.max_seq_length,
        pooling=built.pooling,
        is_unit_length=built.normalize,
        similarity=built.similarity,
        prompts=tuple(
            (prompt, text, prompt == built.default_prompt_name) for prompt, text in sorted(built.prompts.items())
        ),
        origin_kind=built.origin.kind,
        origin_id=built.origin.id,
        revision=built.origin.revision,
        configured=tuple(
            (file.path, file.reasons, None if file.origin is None else file.origin.hex) for file in built.configured
        ),
        source_files=tuple(file for file in files if file.path.startswith(source)),
        derived_files=tuple(file for file in files if not file.path.startswith(source)),
        cache_key=None if record is None else record.derivation.hex,
        toolchain=() if record is None else tuple(sorted(record.toolchain.items())),
        omitted=() if record is None else tuple(sorted(record.omitted.items())),
        variants=variants,
        measured=measured,
        unmeasured=unmeasured,
    )


def _variant(manifest: Manifest, name: str, variant: Variant, report: Report | None) -> PageVariant:
    return PageVariant(
        name=variant.name,
        backend=variant.backend,
        precision=variant.precision,
        files=len(variant.files),
        bytes=sum(manifest.files[path].size for path in variant.files),
        required_cosine=None if variant.gate is None else variant.gate.required_cosine,
        required_agreement=None if variant.gate is None else variant.gate.required_agreement,
        figures=None if report is None else report.of(name, variant.name),
    )


def _measured(
    built: BuiltModel, variants: Sequence[PageVariant], report: Report | None, golden: Golden | None
) -> tuple[MeasuredTexts | None, str]:
    if built.record is None:
        return None, NO_GOLDEN
    if report is None:
        return None, NO_REPORT
    if golden is None:
        return None, NOT_READ
    # As many as there are texts: with other golden vectors, a cosine would stand beside the wrong text.
    cosines = {
        variant.name: variant.figures.cosines
        for variant in variants
        if variant.figures is not None and len(variant.figures.cosines) == len(golden.texts)
    }
    if not cosines:
        return None, NO_COSINES
    gates = {
        variant.name: variant.required_cosine
        for variant in variants
        if variant.required_cosine is not None and variant.name in cosines
    }
    texts = tuple(
        GoldenText(number=number, prompt=prompt, text=text, cosines=found)
        for number, (prompt, text, found) in enumerate(
            zip(golden.prompts, golden.texts, zip(*cosines.values(), strict=True), strict=True), 1
        )
    )
    return MeasuredTexts(variants=tuple(cosines), plot=dot_plot(cosines, gates), texts=texts), ""
