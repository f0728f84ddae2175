"""``report``: read a bundle, and what lies beside it, and write the page about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.golden import Golden
from thoth_models.errors import Problem, VerificationError
from thoth_models.verification.contents import read_compared
from thoth_models.verification.report_file import read_report, report_path
from thoth_models.verification.verify import open_bundle, verify
from thoth_models_builder import __version__
from thoth_models_builder.errors import OutputError, UsageError
from thoth_models_builder.oci.layer_diff import ANY_PLATFORM, compare_images
from thoth_models_builder.oci.layers import DEFAULT_ROOT, bundle_layers, layer_descriptor
from thoth_models_builder.reports.bundle_diff import diff
from thoth_models_builder.reports.page.benchmarks import MAX_RESULTS_SIZE, page_runs
from thoth_models_builder.reports.page.contents import Comparison, Finding, Page, PageLayer, Verification
from thoth_models_builder.reports.page.html import render
from thoth_models_builder.reports.page.models import page_models
from thoth_models_builder.reports.results import PageReport
from thoth_models_builder.storage.files import open_regular, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from thoth_models.bundle.report import Report
    from thoth_models.verification.verify import OpenBundle
    from thoth_models_builder.oci.layer_diff import LayerDiff
    from thoth_models_builder.oci.layers import Layer
    from thoth_models_builder.reports.page.benchmarks import PageRun


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOptions:
    """What to report, and where.

    Attributes:
        bundle: Directory of the bundle.
        output: The file to write.
        against: Directory of the bundle that this one is to replace, or None.
        benchmarks: File that ``nox -s bench`` stored, or None.
    """

    bundle: Path
    output: Path
    against: Path | None = None
    benchmarks: Path | None = None


def write_page(options: PageOptions) -> PageReport:
    """Verify a bundle, and write the page about it; also if it is not intact.

    Raises:
        BundleError: A bundle is missing, or its manifest is malformed or changed, so that there is nothing to report.
        UsageError: The output is in a bundle, or in the place of its report or of the benchmarks; or the benchmarks are
            not results.
        OutputError: The page cannot be written.
    """
    bundle = open_bundle(options.bundle)
    old = None if options.against is None else open_bundle(options.against)
    _refuse_places(options, [bundle, *([] if old is None else [old])])
    page = page_of(bundle, old, options.benchmarks)
    data = render(page)
    try:
        replace_file(options.output.resolve(), data)  # a symlink stays
    except OSError as error:
        raise OutputError(f"{options.output}: cannot be written: {error.strerror or error}") from error
    return PageReport(
        output=str(options.output),
        bytes=len(data),
        bundle_digest=page.bundle_digest,
        problems=tuple(
            f"{problem.path}: expected {problem.expected}, found {problem.found}"
            for problem in page.verification.problems
        ),
        needs_reindex=None if page.comparison is None else page.comparison.diff.needs_reindex,
    )


def _refuse_places(options: PageOptions, bundles: Iterable[OpenBundle]) -> None:
    output, place = options.output, options.output.resolve()
    if options.benchmarks is not None and place == options.benchmarks.resolve():
        raise UsageError(f"expected --output in a file of its own, found {output}, which has the benchmarks")
    for bundle in bundles:
        if place.is_relative_to(bundle.root):
            raise UsageError(f"expected --output outside of the bundle {bundle.root}, found {output}")
        if place == report_path(bundle.root):
            raise UsageError(f"expected --output in a file of its own, found {output}, which has the measured figures")


def page_of(bundle: OpenBundle, old: OpenBundle | None, benchmarks: Path | None) -> Page:
    """Return everything that the page says about a bundle; every file of it is compared with its manifest.

    Raises:
        UsageError: The benchmarks are not results.
    """
    found = read_report(bundle.root, bundle.bundle_digest)
    layers = _layers(bundle)
    compared = None if old is None else _compared(_layers(old), layers)
    states = {} if compared is None else {layer.name: layer.state for layer in compared.layers}
    return Page(
        name=bundle.manifest.name,
        default=bundle.manifest.default,
        bundle_release=bundle.manifest.release,
        bundle_digest=bundle.bundle_digest.hex,
        set_digest=Digest.of(bundle.manifest.checksums()).hex,
        verification=_verification(bundle),
        models=page_models(bundle.manifest, found.report, _golden(bundle)),
        layers=tuple(
            PageLayer(
                name=layer.name,
                size=layer.size,
                files=len(layer.files),
                input_digest=layer.input_digest.hex,
                state=states.get(layer.name),
            )
            for layer in layers
        ),
        has_report=found.report is not None,
        report_note=None if found.note is None else _without_directory(found.note, bundle),
        comparison=None if old is None or compared is None else _comparison(old, bundle, found.report, compared),
        runs=None if benchmarks is None else _runs(benchmarks, bundle),
        release=__version__,
    )


def _without_directory(note: str, bundle: OpenBundle) -> str:
    """Return a note without the directory, which differs between machines that make the same page."""
    return note.replace(f"{bundle.root.parent}/", "")


def _verification(bundle: OpenBundle) -> Verification:
    try:
        report = verify(bundle.root)
    except VerificationError as error:
        return Verification(files=0, bytes=0, problems=_findings(error.problems), warnings=())
    return Verification(files=report.files, bytes=report.bytes, problems=(), warnings=_findings(report.warnings))


def _findings(problems: Iterable[Problem]) -> tuple[Finding, ...]:
    return tuple(Finding(path=one.path, expected=one.expected, found=one.found) for one in problems)


def _golden(bundle: OpenBundle) -> dict[str, Golden]:
    """Return the golden vectors of each model, whose bytes were compared with the manifest."""
    golden = {}
    for name, model in bundle.manifest.models.items():
        if model.built is None or model.built.record is None:
            continue
        path = model.built.record.golden
        data = read_compared(bundle.root, path, bundle.manifest.files[path])
        if isinstance(data, Problem):
            continue  # the verification has it among its problems
        try:
            golden[name] = Golden.from_bytes(data, dimension=model.dimension)
        except FormatError:
            continue  # of another release; the page says that they could not be read
    return golden


def _layers(bundle: OpenBundle) -> tuple[Layer, ...]:
    return bundle_layers(bundle.manifest, bundle.root, root=DEFAULT_ROOT, mtime=0)


def _compared(before: Iterable[Layer], after: Iterable[Layer]) -> LayerDiff:
    """Compare layers that were not written: with the same input digest, they have the same bytes."""
    images = [
        {ANY_PLATFORM: [layer_descriptor(layer, layer.input_digest) for layer in layers]} for layers in (before, after)
    ]
    (compared,) = compare_images(*images)
    return compared


def _comparison(old: OpenBundle, bundle: OpenBundle, report: Report | None, layers: LayerDiff) -> Comparison:
    reports = (read_report(old.root, old.bundle_digest).report, report)
    return Comparison(
        name=old.manifest.name,
        bundle_digest=old.bundle_digest.hex,
        diff=diff(old.manifest, bundle.manifest, reports),
        gone=layers.gone,
        pulled=layers.pulled,
    )


def _runs(path: Path, bundle: OpenBundle) -> tuple[PageRun, ...]:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_RESULTS_SIZE + 1)
        return page_runs(data, bundle.manifest, bundle.bundle_digest.hex)
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file of results, found: {error.strerror or error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
