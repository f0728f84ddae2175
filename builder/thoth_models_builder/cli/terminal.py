"""Output on a terminal: progress while work goes on, and reports when it is done.

Progress goes to standard error, reports to standard output. If standard error is not a terminal, the progress of a
transfer is printed as a few plain lines.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from thoth_models_builder.cli.compile_progress import compile_progress
from thoth_models_builder.pipeline.inputs import as_shown
from thoth_models_builder.reports.bundle_diff import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from thoth_models_builder.reports.bundle_diff import BundleDiff
    from thoth_models_builder.reports.results import (
        BuildReport,
        BuiltModelReport,
        CheckReport,
        CollectionReport,
        EditReport,
        ImageReport,
        LockedModelReport,
        LockReport,
        OutdatedModelReport,
    )
    from thoth_models_builder.watcher import CompileProgress

_PLAIN_INTERVAL = 5.0
"""Seconds between two lines about one transfer, without a terminal."""

_LOG_WIDTH = 200
"""Width of tables in columns, without a terminal."""

_MEGABYTE = 1_000_000
_SHORT_DIGEST = 12


def configure_logging(*, verbose: bool) -> None:
    """Show the log of this package on standard error: errors and warnings, and with ``verbose`` every attempt."""
    logger = logging.getLogger("thoth_models_builder")
    # Only loggers of this package: the HTTP client logs full URLs, which may contain signatures.
    console = _Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    handler.setFormatter(_PlainFormatter("%(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.propagate = False


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return as_shown(super().format(record))


class _Console(Console):
    """A console on which texts, whatever the names in them, do not control the terminal, and show no secret."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - what rich takes
        # rich would turn `:dog:` in a prompt or path into an emoji.
        super().__init__(emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - what rich takes
        """Print objects; in texts, secrets are removed before rich divides them."""
        super().print(*(as_shown(one) if isinstance(one, str) else one for one in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render everything else, such as the cells of a table."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=as_shown(segment.text))

    def on_broken_pipe(self) -> None:
        """Raise instead of exiting with 1, as rich does: that code means that verification failed."""
        raise BrokenPipeError


class TerminalWatcher:
    """Draws transfers and notes on standard error."""

    def __init__(self) -> None:
        self._console = _Console(stderr=True, soft_wrap=True)

    def note(self, message: str) -> None:
        """Show a line."""
        self._console.print(escape(message))

    @contextlib.contextmanager
    def transfer(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a transfer: a bar with rate and time left on a terminal, else a plain line every few seconds."""
        if not self._console.is_terminal:
            plain = _PlainTransfer(self._console, label, total)
            plain.show()
            yield plain.advance
            plain.show()
            return
        # One line at any width: the label, which contains a commit, is shortened.
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=16),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TransferSpeedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
        )
        with Progress(*columns, console=self._console, transient=True, expand=True) as progress:
            task = progress.add_task(escape(label), total=total)
            yield lambda count: progress.advance(task, count)

    def compiling(self) -> AbstractContextManager[CompileProgress]:
        """Show which steps of compiling run, for how long, and what is left."""
        return compile_progress(self._console)


class _PlainTransfer:
    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._done = 0
        self._started = self._shown = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._shown >= _PLAIN_INTERVAL:
            self.show()

    def show(self) -> None:
        self._shown = time.monotonic()
        elapsed = self._shown - self._started
        rate = self._done / elapsed if elapsed > 0 else 0.0
        left = f", {(self._total - self._done) / rate:.0f} s left" if rate and self._done < self._total else ""
        speed = f", {rate / _MEGABYTE:.1f} MB/s" if self._done else ""
        self._console.print(
            escape(f"{self._label}: {self._done / _MEGABYTE:.1f} of {self._total / _MEGABYTE:.1f} MB{speed}{left}")
        )


def show_build(report: BuildReport) -> None:
    """Print the table of a build: models, files, sizes, digests, sources, and absent models."""
    console = _output()
    for model in report.models:
        if not model.is_absent:
            _show_built_model(console, model)
    for attempt in report.attempts:
        console.print(f"failed: {escape(str(attempt))}")
    for note in report.notes:
        console.print(f"note: {escape(note)}")
    for model in report.models:
        if model.is_absent:
            who = ", else ".join(model.stand_ins)
            console.print(
                f"{model.name} is absent: none of its sources delivered. {who} stands in for it at run time; "
                "its vectors belong to another embedding space."
            )
    done = "nothing to do, the bundle is up to date" if report.is_unchanged else "built and verified"
    console.print(f"{escape(report.output)}: {done}")
    console.print(f"bundle digest {report.bundle_digest}")
    console.print(f"set digest    {report.set_digest}")
    if report.report is not None:
        console.print(f"measured figures: {escape(report.report)}")
    console.print(
        f"{report.own_seconds:.2f} s of its own, {report.source_seconds:.2f} s waiting for sources, "
        f"{report.compile_seconds:.2f} s compiling"
    )


def _show_built_model(console: Console, model: BuiltModelReport) -> None:
    licence = model.license or "not stated"
    title = f"{model.name}: {', '.join(model.variants)}, {model.dimension} dimensions, licence {licence}"
    caption = f"space {model.space}"
    table = Table(title=escape(title), title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE)
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("sha256", no_wrap=True)
    table.add_column("from", overflow="fold")
    for file in model.files:
        # A whole digest does not fit on a terminal; in a log it is needed for searching.
        digest = file.sha256[:_SHORT_DIGEST] if console.is_terminal else file.sha256
        table.add_row(escape(file.path), f"{file.size:,}", digest, escape(file.source))
    table.add_section()
    table.add_row(f"{len(model.files)} files", f"{sum(file.size for file in model.files):,}")
    console.print(table)
    _show_configured(console, model.configured)
    for variant, gate in model.gates.items():
        figures = model.accuracy.get(variant)
        if figures is None:
            console.print(f"{variant}: passed the gate of a cosine of {gate['required_cosine']:.5f}; not measured here")
            continue
        cosines = f"at least {figures['minimum_cosine']:.5f}, {figures['mean_cosine']:.5f} on average"
        neighbours = f"{figures['neighbour_agreement']:.3f} of the ten nearest texts are the same"
        console.print(f"{variant}: cosine to sentence-transformers {cosines}; {neighbours}")


def show_lock(report: LockReport) -> None:
    """Print the result for the entry of each model."""
    console = _output()
    for model in report.models:
        console.print(escape(f"{model.name}: {_lock_state(model)}"))
        for attempt in model.attempts:
            console.print(f"  failed: {escape(str(attempt))}")
        _show_files(console, model)
    became = "written" if report.is_rewritten else "unchanged"
    if report.models and all(model.state == "missing" for model in report.models):
        became = "not written, because nothing was resolved"
    console.print(f"{escape(report.file)}: {became}")
    show_differences(report.differences)


def _show_files(console: Console, model: LockedModelReport) -> None:
    """Print which files of a source are left out, which ones a build changes, and what the author should know."""
    for refusal in model.refused:
        console.print(f"  left out: {escape(refusal.path)} ({escape(refusal.reason)})")
    _show_configured(console, model.configured)
    for note in model.notes:
        console.print(f"  note: {escape(note)}")


def _show_configured(console: Console, files: Mapping[str, tuple[str, ...]]) -> None:
    for path, reasons in files.items():
        console.print(f"  configured: {escape(path)} ({escape('; '.join(reasons))})")


def show_edit(report: EditReport) -> None:
    """Print what was added to a specification, or removed from it."""
    console = _output()
    for model in report.models:
        source = report.sources.get(model.name)
        what = "removed" if source is None else f"added from {source}, {model.files} files, {model.bytes:,} bytes"
        console.print(escape(f"{model.name}: {what}"))
        _show_files(console, model)
    console.print(f"{escape(report.file)}: {'written' if report.is_new else 'changed'}")
    if report.models:
        console.print(f"{escape(report.lock)}: {'does not fit yet' if report.differences else 'fits'}")
    show_differences(report.differences)


def show_outdated(models: Sequence[OutdatedModelReport]) -> None:
    """Print how the lock of each model compares with its branch upstream."""
    console = _output()
    for model in models:
        upstream = f"{model.branch} is {model.upstream}" if model.branch else ""
        match model.state:
            case "not asked":
                line = f"not asked, because {model.source} has no commits"
            case "current":
                line = f"current, {upstream}"
            case "unknown":
                line = f"unknown: {model.reason}"
            case "refused":
                line = f"{upstream}, which a bundle cannot contain: {model.reason}"
            case state:
                meaning = "the same vectors" if state == "same vectors" else "a new space: an index must be made again"
                line = f"{upstream}: {meaning}"
        console.print(escape(f"{model.name}: {line}"))
        for path in model.changed:
            console.print(escape(f"  ~ {path}"))


def _lock_state(model: LockedModelReport) -> str:
    size = f"{model.files} files, {model.bytes:,} bytes"
    match model.state:
        case "resolved" | "unchanged":
            return f"{model.state} from {model.source}, {size}"
        case "kept":
            return f"its origin did not deliver it, the existing entry is kept ({size})"
        case "missing":
            return "no source delivered it, and there is no entry to keep"
        case _:
            return "removed, because the specification has no such model any more"


def show_differences(lines: tuple[str, ...] | list[str]) -> None:
    """Print lines about differences."""
    console = _output()
    for line in lines:
        console.print(escape(line))


def show_check(report: CheckReport) -> None:
    """Print the result of a verification."""
    console = _output()
    for warning in report.warnings:
        console.print(f"warning: {escape(warning)}")
    console.print(
        escape(f"{report.output}: {report.files} files, {report.bytes:,} bytes verified in {report.seconds:.2f} s")
    )
    console.print(f"bundle digest {report.bundle_digest}")
    console.print(f"set digest    {report.set_digest}")
    if report.release is not None:
        console.print(f"release       {report.release}")
    if report.signed_by is not None:
        console.print(escape(f"signed by     {report.signed_by}"))
    for statement in report.attested:
        console.print(escape(f"attested      {statement}"))


def show_image(report: ImageReport) -> None:
    """Print the layers of an image, its digests and destinations."""
    console = _output()
    table = Table(box=box.SIMPLE)
    table.add_column("layer", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("sha256", no_wrap=True)
    table.add_column("")
    for layer in report.layers:
        digest = layer.digest[:_SHORT_DIGEST] if console.is_terminal else layer.digest
        table.add_row(escape(layer.name), f"{layer.size:,}", digest, "there already" if layer.is_reused else "written")
    table.add_section()
    table.add_row(f"{len(report.layers)} layers", f"{sum(layer.size for layer in report.layers):,}")
    console.print(table)
    if report.base_layers:
        console.print(f"on {report.base_layers} layers of the base")
    for manifest in report.manifests:
        what = manifest.platform or "artifact"
        console.print(f"{what}: manifest sha256:{manifest.digest}, configuration sha256:{manifest.config_digest}")
    for output in report.outputs:
        console.print(escape(f"{output.destination}: {output.name}, {output.bytes:,} bytes, sha256:{output.digest}"))
    console.print(f"digest        sha256:{report.digest}")
    console.print(f"bundle digest {report.bundle_digest}")
    console.print(f"set digest    {report.set_digest}")
    console.print(f"{report.seconds:.2f} s")


def show_inspection(document: dict[str, object]) -> None:
    """Print a manifest as indented JSON, after the digests."""
    console = _output()
    for name in ("root", "bundle_digest", "set_digest"):
        console.print(escape(f"{name:<13} {document[name]}"))
    console.print(json.dumps(document["manifest"], indent=2, ensure_ascii=False), markup=False)


def show_diff(report: BundleDiff) -> None:
    """Print the differences between two bundles, and the verdict on each model."""
    console = _output()
    for change in report.changes:
        console.print(escape(f"{change.what}: {change.before} -> {change.after}"))
    for model in report.models:
        console.print(escape(f"{model.name}: {model.verdict}: {MEANINGS[model.verdict]}"))
        for change in model.changes:
            console.print(escape(f"  {change.what}: {change.before} -> {change.after}"))
        for mark, paths in (("+", model.added), ("-", model.removed), ("~", model.changed)):
            for path in paths:
                console.print(escape(f"  {mark} {path}"))
        if model.bytes:
            console.print(f"  {model.bytes:,} bytes are new")
    for name in report.names:
        places = f"{name.before or 'nothing'} -> {name.after or 'nothing'}"
        called = "the default" if name.name is None else f"the name {name.name}"
        console.print(escape(f"{called}: {places}: {name.verdict}: {MEANINGS[name.verdict]}"))
    console.print("index again: yes" if report.needs_reindex else "index again: no")


def show_collection(report: CollectionReport) -> None:
    """Print the result of a garbage collection."""
    verb = "would remove" if report.is_dry_run else "removed"
    _output().print(escape(f"{report.store}: {verb} {report.files} files, {report.bytes:,} bytes"))


def show_text(text: str) -> None:
    """Print text unchanged."""
    _output().print(text, end="", markup=False, highlight=False)


def show_error(message: str, hint: str | None) -> None:
    """Print an error and a hint."""
    console = _Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"thoth-bundle: {escape(message)}")
    show_hint(hint)


def show_hint(hint: str | None) -> None:
    """Print what to do next on standard error; nothing for None."""
    if hint is not None:
        _Console(stderr=True, soft_wrap=True, highlight=False).print(f"hint: {escape(hint)}")


def _output() -> Console:
    # Digests and paths in a pipe must not be wrapped at column 80.
    console = _Console(soft_wrap=True, highlight=False)
    return console if console.is_terminal else _Console(soft_wrap=True, highlight=False, width=_LOG_WIDTH)
