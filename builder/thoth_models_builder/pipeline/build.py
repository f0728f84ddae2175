"""``build``: build the bundle of a lock, unless it exists already."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import Digest
from thoth_models.verification.signatures.signature_file import signature_path
from thoth_models_builder.bundle import write_tree
from thoth_models_builder.bundle.compose_manifest import compose
from thoth_models_builder.bundle.write_report import refuse_foreign_report, write_report
from thoth_models_builder.errors import OutputError, SourcesFailedError, UnsupportedModelError, UsageError
from thoth_models_builder.pipeline.build_report import built_report, figures_of
from thoth_models_builder.pipeline.compiler_process import Compiler
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.pipeline.inputs import read_lock, read_spec
from thoth_models_builder.pipeline.prepare_model import Compiling, gather, is_compiled_now
from thoth_models_builder.reports.results import BuildReport
from thoth_models_builder.sources.limits import Limits
from thoth_models_builder.spec.plan import plan_models, stand_ins
from thoth_models_builder.storage.store import Store
from thoth_models_builder.trust.attestations.attestation_file import attestations_path
from thoth_models_builder.trust.licence_policy import refuse_licences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.errors import SourceAttempt
    from thoth_models_builder.pipeline.prepare_model import Gathered
    from thoth_models_builder.spec.models_yaml import Spec
    from thoth_models_builder.spec.plan import PlannedModel
    from thoth_models_builder.watcher import BuildWatcher

__all__ = ["BuildOptions", "Limits", "build"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """What to build, from which files, and where.

    Attributes:
        file: The specification.
        lock: The lock.
        output: The bundle directory.
        store: Directory of the store.
        models: Names of the models to build; None for all.
        strict: Fail if a model or variant is missing, whatever the specification allows.
        link: Make hard links into the store, see :func:`~thoth_models_builder.bundle.write_tree.write_bundle`.
        limits: Bounds on every wait for a source.
        compile_deadline: Seconds for compiling one model, counted while steps of it run.
    """

    file: Path
    lock: Path
    output: Path
    store: Path
    models: Sequence[str] | None = None
    strict: bool = False
    link: bool = False
    limits: Limits = field(default_factory=Limits)
    compile_deadline: float = 3600.0


def build(options: BuildOptions, watcher: BuildWatcher) -> BuildReport:
    """Build the bundle of a lock, unless it exists already.

    Raises:
        SpecError, LockError, LockOutOfDateError, UsageError, AlternateError: The specification, the lock or an option
            is wrong.
        LicenceError: The specification does not permit the licence that a model has in the lock.
        UnsupportedModelError: A bundle cannot contain the files of a model, or with ``strict`` a variant cannot be
            compiled.
        CompilerUnavailableError, CompileError: A variant cannot be compiled on this machine.
        AccuracyError: A variant is not close enough to the reference.
        SourcesFailedError: A required model could not be fetched; has every attempt.
        StoreError, OutputError: The store or the output cannot be written.
        VerificationError: The written bundle failed verification; the output was not changed.
    """
    started = time.monotonic()
    _refuse_nesting(options.output, options.store)
    spec = read_spec(options.file)
    planned = plan_models(spec, read_lock(options.lock), options.models, str(options.lock))
    refuse_licences(spec.licences, {model.name: model.locked.license for model in planned})
    store = Store(options.store)
    context = FetchContext(store=store, base=options.file.parent, limits=options.limits, watcher=watcher)
    with store.in_use(), write_tree.claim(options.output, store.root / "locks"):
        refuse_foreign_report(options.output)
        previous, damage = write_tree.read_previous(options.output)
        if damage is not None:
            watcher.note(f"the bundle at {options.output} is not intact, building it again: {damage}")
        with Compiler(store, watcher, deadline=options.compile_deadline) as compiler:
            gathered, compile_seconds = _gather(planned, previous, context, compiler)
        _refuse_absence(spec, planned, gathered, context.attempts, strict=options.strict)
        omissions = _omissions(gathered)
        if omissions and options.strict:
            raise UnsupportedModelError(f"{'; '.join(omissions)}, and with --strict no variant may be left out")
        present = {name: part.inputs for name, part in gathered.items() if part is not None}
        manifest = compose(spec.bundle, planned, present)
        is_unchanged = previous is not None and previous.manifest.to_bytes() == manifest.to_bytes()
        if not is_unchanged:
            places = {
                f"{name}/{path}": place
                for name, part in gathered.items()
                if part is not None
                for path, place in part.places.items()
            }
            write_tree.write_bundle(manifest, places.__getitem__, options.output, link=options.link)
        bundle_digest = Digest.of(manifest.to_bytes())
        figures = figures_of(gathered, previous)
        report = None
        try:
            report = write_report(options.output, bundle_digest, figures)
        except OutputError as error:
            if not is_unchanged:
                raise
            # Such as a directory that may only be read; the bundle is what was asked for.
            watcher.note(f"the measured figures are not kept: {error}")
        for path, command in (
            (signature_path(options.output.resolve()), "`thoth-bundle sign` signs"),
            (attestations_path(options.output.resolve()), "`thoth-bundle attest` attests"),
        ):
            if previous is not None and not is_unchanged and path.exists():
                watcher.note(f"{path} is that of the bundle before: {command} this one")
    return BuildReport(
        output=str(options.output),
        report=None if report is None else str(report),
        is_unchanged=is_unchanged,
        bundle_digest=bundle_digest.hex,
        set_digest=Digest.of(manifest.checksums()).hex,
        models=tuple(built_report(model, spec, gathered, figures) for model in planned),
        attempts=tuple(context.attempts),
        notes=(*(() if damage is None else (f"a bundle that was not intact was replaced: {damage}",)), *omissions),
        own_seconds=time.monotonic() - started - context.source_seconds - compile_seconds,
        compile_seconds=compile_seconds,
        source_seconds=context.source_seconds,
    )


# --- the steps ---


def _gather(
    planned: Sequence[PlannedModel], previous: VerificationReport | None, context: FetchContext, compiler: Compiler
) -> tuple[dict[str, Gathered | None], float]:
    """Return the inputs of each model, or None for an absent one, and the seconds spent waiting for compilers.

    Models are compiled while files of the next ones are fetched.
    """
    if any(is_compiled_now(model, previous, context.store) for model in planned):
        compiler.start()
    parts = {model.name: gather(model, previous, context, compiler) for model in planned}
    started = time.monotonic()
    compiled = compiler.collect()
    seconds = time.monotonic() - started if compiled else 0.0
    return {
        name: part.gathered(compiled[name], context.store) if isinstance(part, Compiling) else part
        for name, part in parts.items()
    }, seconds


def _refuse_nesting(output: Path, store: Path) -> None:
    """Refuse an output inside the store, which gc clears, and a store inside the output, which a build replaces."""
    places = [output.resolve(), store.resolve()]
    if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise UsageError(f"expected --output and --store outside of each other, found {output} and {store}")


def _refuse_absence(
    spec: Spec,
    planned: Sequence[PlannedModel],
    gathered: Mapping[str, Gathered | None],
    attempts: Sequence[SourceAttempt],
    *,
    strict: bool,
) -> None:
    present = [name for name, part in gathered.items() if part is not None]
    for model in planned:
        if model.name in present:
            continue
        if strict:
            reason = "and with --strict no model may be absent"
        elif model.spec.when_unavailable == "fail":
            reason = "and the specification does not say `when_unavailable: use-alternates`"
        elif not stand_ins(model.name, spec, present):
            reason = "and none of its alternates is in the bundle"
        else:
            continue
        raise SourcesFailedError(
            f"{model.name}: no source delivered all of its files, {reason}",
            [attempt for attempt in attempts if attempt.model == model.name],
        )


def _omissions(gathered: Mapping[str, Gathered | None]) -> list[str]:
    """Return a line for each variant that is left out, with the reason."""
    return [
        f"{name}: {variant} is left out: {reason}"
        for name, part in gathered.items()
        if part is not None and part.inputs.derived is not None
        for variant, reason in sorted(part.inputs.derived.omitted.items())
    ]
