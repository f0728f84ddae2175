"""``lock``, ``build``, ``verify``, ``inspect``, ``diff``, ``gc``, ``schema``: each as a readable sequence of steps.

The place that wires the rooms together (``image`` does it in a module of its own), and the library behind the command
line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from thoth_models.digest import Digest
from thoth_models.verify import open_bundle
from thoth_models.verify import verify as verify_bundle
from thoth_models_builder import assemble
from thoth_models_builder.diff import diff as compare_bundles
from thoth_models_builder.errors import (
    Finding,
    LockError,
    SourcesFailedError,
    SpecError,
    UnsupportedModelError,
    UsageError,
)
from thoth_models_builder.files import open_regular, replace_file
from thoth_models_builder.gathering import gather
from thoth_models_builder.imaging import DEFAULT_PLATFORMS, DEFAULT_ROOT, ImageOptions, image
from thoth_models_builder.lockfile import Lock, differences
from thoth_models_builder.locking import lock_model
from thoth_models_builder.obtain import Supply
from thoth_models_builder.plan import plan_models, stand_ins
from thoth_models_builder.reports import (
    BuildReport,
    BuiltFileReport,
    BuiltModelReport,
    CheckReport,
    CollectionReport,
    LockedModelReport,
    LockReport,
)
from thoth_models_builder.sources.limits import Limits
from thoth_models_builder.spec import json_schema, parse_spec
from thoth_models_builder.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models_builder.diff import BundleDiff
    from thoth_models_builder.errors import SourceAttempt
    from thoth_models_builder.gathering import Gathered
    from thoth_models_builder.plan import PlannedModel
    from thoth_models_builder.reports import Watcher
    from thoth_models_builder.spec import Spec

__all__ = [
    "DEFAULT_PLATFORMS",
    "DEFAULT_ROOT",
    "STORE_VARIABLE",
    "BuildOptions",
    "ImageOptions",
    "Limits",
    "build",
    "check_lock",
    "default_store",
    "diff",
    "gc",
    "image",
    "inspect",
    "lock",
    "schema",
    "verify",
]

STORE_VARIABLE = "THOTH_STORE"
_LARGEST_INPUT = 64 * 1024 * 1024
"""Bytes of a specification or lock that are read at most; what is longer is refused by its parser."""


def default_store() -> Path:
    """Return ``THOTH_STORE``, or a directory in the user's cache."""
    if configured := os.environ.get(STORE_VARIABLE):
        return Path(configured)
    try:
        return Path(platformdirs.user_cache_dir("thoth-models")) / "store"
    except RuntimeError as error:
        raise UsageError(f"expected --store or {STORE_VARIABLE}, because this user has no home directory") from error


def schema() -> str:
    """Return the JSON Schema of models.yaml as the text of models.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def check_lock(file: Path, lock: Path) -> list[str]:
    """Return what in ``lock`` does not fit the specification in ``file``; asks no source.

    Raises:
        SpecError: The specification is wrong.
        LockError: The lock is missing or cannot be read.
    """
    return differences(_read_spec(file), _read_lock(lock))


def lock(file: Path, lock_file: Path, store: Path, *, limits: Limits, watcher: Watcher) -> LockReport:
    """Resolve every model of a specification and record what it consists of.

    Raises:
        SpecError: The specification is wrong.
        LockError: There is a lock that cannot be read; nothing is lost by overwriting it silently.
        UnsupportedModelError: A model needs what a bundle refuses; the lock was not touched.
    """
    spec = _read_spec(file)
    before = _read_lock_bytes(lock_file) if lock_file.exists() else b""
    existing = Lock.from_bytes(before, str(lock_file)) if before else Lock(models={})
    supply = Supply(store=Store(store), base=file.parent, limits=limits, watcher=watcher)
    models = {}
    reports: list[LockedModelReport] = []
    with supply.store.in_use():
        for name, model in spec.models.items():
            entry, report = lock_model(name, model, existing.models.get(name), supply)
            reports.append(report)
            if entry is not None:
                models[name] = entry
    reports += [LockedModelReport(name=name, state="removed") for name in existing.models if name not in spec.models]
    result = Lock(models=models)
    after = result.to_bytes()
    if after != before:
        replace_file(lock_file, after)
    return LockReport(
        file=str(lock_file),
        is_rewritten=after != before,
        models=tuple(reports),
        differences=tuple(differences(spec, result)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """What to build from what, and where.

    Attributes:
        file: The specification.
        lock: The lock.
        output: The bundle directory.
        store: Directory of the store.
        models: Names of the models to build; None for all.
        strict: Refuse to go without a model or variant, whatever the specification says.
        limits: Bounds on every wait for a source.
        compile_deadline: Seconds for each of the two steps of compiling a model.
    """

    file: Path
    lock: Path
    output: Path
    store: Path
    models: Sequence[str] | None = None
    strict: bool = False
    limits: Limits = field(default_factory=Limits)
    compile_deadline: float = 3600.0


def build(options: BuildOptions, watcher: Watcher) -> BuildReport:
    """Build a bundle from a lock, or find that it is there already.

    Raises:
        SpecError, LockError, LockOutOfDateError, UsageError, AlternateError: What was asked for is wrong.
        UnsupportedModelError: The files of a model are not what a bundle can hold, or under ``strict`` a variant cannot
            be made of them.
        CompilerUnavailableError, CompileError: A variant cannot be made here.
        AccuracyError: A variant is not close enough to the reference.
        SourcesFailedError: A model that must not be absent could not be had; carries every attempt.
        StoreError, OutputError: The machine is in the way.
        VerificationError: What was written is not what was meant; the output was not touched.
    """
    started = time.monotonic()
    _refuse_nesting(options.output, options.store)
    spec = _read_spec(options.file)
    planned = plan_models(spec, _read_lock(options.lock), options.models, str(options.lock))
    store = Store(options.store)
    supply = Supply(store=store, base=options.file.parent, limits=options.limits, watcher=watcher)
    with store.in_use(), assemble.claim(options.output, store.root / "locks"):
        previous, damage = assemble.read_previous(options.output)
        if damage is not None:
            watcher.note(f"the bundle at {options.output} is not intact, building it again: {damage}")
        gathered = {
            model.name: gather(model, previous, supply, compile_deadline=options.compile_deadline) for model in planned
        }
        _refuse_absence(spec, planned, gathered, supply.attempts, strict=options.strict)
        omissions = _omissions(gathered)
        if omissions and options.strict:
            raise UnsupportedModelError(f"{'; '.join(omissions)}, and --strict allows no variant to be left out")
        present = {name: part.ingredients for name, part in gathered.items() if part is not None}
        manifest = assemble.compose(spec.bundle.name, spec.bundle.default, planned, present)
        is_unchanged = previous is not None and previous.manifest.to_bytes() == manifest.to_bytes()
        if not is_unchanged:
            places = {
                f"{name}/{path}": place
                for name, part in gathered.items()
                if part is not None
                for path, place in part.places.items()
            }
            assemble.write_bundle(manifest, places.__getitem__, options.output)
    compile_seconds = sum(part.compile_seconds for part in gathered.values() if part is not None)
    return BuildReport(
        output=str(options.output),
        is_unchanged=is_unchanged,
        bundle_digest=Digest.of(manifest.to_bytes()).hex,
        set_digest=Digest.of(manifest.checksums()).hex,
        models=tuple(_built_report(model, spec, gathered) for model in planned),
        attempts=tuple(supply.attempts),
        notes=(*(() if damage is None else (f"a bundle that was not intact was replaced: {damage}",)), *omissions),
        own_seconds=time.monotonic() - started - supply.source_seconds - compile_seconds,
        compile_seconds=compile_seconds,
        source_seconds=supply.source_seconds,
    )


def verify(root: Path, *, strict: bool) -> CheckReport:
    """Check a whole bundle with the runtime's own code.

    Raises:
        BundleError: It is missing, malformed or changed.
    """
    report = verify_bundle(root, strict=strict)
    return CheckReport(
        output=str(report.root),
        bundle_digest=report.bundle_digest.hex,
        set_digest=report.set_digest.hex,
        files=report.files,
        bytes=report.bytes,
        warnings=tuple(map(str, report.warnings)),
        seconds=report.seconds,
    )


def inspect(root: Path) -> dict[str, object]:
    """Return what the manifest of a bundle says, and its digests; model files are not compared.

    Raises:
        BundleError: It is missing, or its manifest is malformed or changed.
    """
    bundle = open_bundle(root)
    document: dict[str, object] = json.loads(bundle.manifest.to_bytes())
    return {
        "root": str(bundle.root),
        "bundle_digest": bundle.bundle_digest.hex,
        "set_digest": Digest.of(bundle.manifest.checksums()).hex,
        "manifest": document,
    }


def diff(before: Path, after: Path) -> BundleDiff:
    """Compare two bundles by what their manifests say; model files are not compared with them.

    Raises:
        BundleError: One is missing, or its manifest is malformed or changed.
    """
    return compare_bundles(open_bundle(before).manifest, open_bundle(after).manifest)


def gc(store: Path, locks: Sequence[Path], *, unused_days: float, dry_run: bool) -> CollectionReport:
    """Remove from the store what none of ``locks`` names and nothing has used for ``unused_days``.

    Raises:
        LockError: A lock is missing or cannot be read; nothing was removed.
        StoreError: A build is using the store.
    """
    keep = {file.sha256 for path in locks for model in _read_lock(path).models.values() for file in model.files}
    collected = Store(store).gc(keep, unused_seconds=unused_days * 24 * 60 * 60, dry_run=dry_run)
    return CollectionReport(store=str(store), files=collected.files, bytes=collected.bytes, is_dry_run=dry_run)


# --- the steps ---


def _refuse_nesting(output: Path, store: Path) -> None:
    """Refuse an output in the store, which gc would clear, and a store in the output, which a build would replace."""
    places = [output.resolve(), store.resolve()]
    if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise UsageError(f"expected --output and --store apart from each other, found {output} and {store}")


def _read_spec(file: Path) -> Spec:
    try:
        data = _read_bounded(file)
    except OSError as error:
        finding = Finding(line=None, path="", message=f"expected a readable file, found: {error.strerror}")
        raise SpecError(str(file), [finding]) from error
    return parse_spec(data, str(file))


def _read_lock(file: Path) -> Lock:
    return Lock.from_bytes(_read_lock_bytes(file), str(file))


def _read_lock_bytes(file: Path) -> bytes:
    try:
        return _read_bounded(file)
    except OSError as error:
        raise LockError(f"{file}: expected a readable lock, found: {error.strerror}") from error


def _read_bounded(file: Path) -> bytes:
    with open_regular(file) as opened:
        return opened.read(_LARGEST_INPUT + 1)


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
            reason = "and --strict allows no absent model"
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
    """Say which variants are left out, and why."""
    return [
        f"{name}: {variant} is left out: {reason}"
        for name, part in gathered.items()
        if part is not None and part.ingredients.derived is not None
        for variant, reason in sorted(part.ingredients.derived.omitted.items())
    ]


def _built_report(model: PlannedModel, spec: Spec, gathered: Mapping[str, Gathered | None]) -> BuiltModelReport:
    part = gathered[model.name]
    present = [name for name, other in gathered.items() if other is not None]
    return BuiltModelReport(
        name=model.name,
        is_absent=part is None,
        stand_ins=stand_ins(model.name, spec, present),
        license=model.locked.license,
        dimension=model.locked.dimension,
        space=None if part is None else part.ingredients.space.hex,
        variants=tuple(model.spec.variants) if part is None else part.ingredients.variants,
        accuracy={}
        if part is None or part.ingredients.derived is None
        else {name: dataclasses.asdict(found) for name, found in part.ingredients.derived.accuracy.items()},
        files=()
        if part is None
        else tuple(
            BuiltFileReport(path=path, size=content.size, sha256=content.sha256.hex, source=part.origins[path])
            for path, content in sorted(part.ingredients.files.items())
        ),
    )
