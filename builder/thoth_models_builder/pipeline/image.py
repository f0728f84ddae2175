"""``image``: pack a verified bundle as an image, and deliver it to its destinations.

Delivery is in :mod:`thoth_models_builder.pipeline.deliver`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import Digest, hash_file
from thoth_models.verification.signatures.signature import SIGNATURE_SUFFIX
from thoth_models.verification.signatures.trust_store import read_trust_files
from thoth_models.verification.verify import open_bundle, verify
from thoth_models_builder.engine.archive_writer import largest_size
from thoth_models_builder.errors import OutputError, UsageError
from thoth_models_builder.oci.base_image import join_bases, read_bases
from thoth_models_builder.oci.compose import Base, Plan, compose, refuse_bundle, refuse_many_layers
from thoth_models_builder.oci.image_config import PREFIX, BaseImage, Created, labels
from thoth_models_builder.oci.layers import (
    DEFAULT_ROOT,
    TRUST_ROOT,
    LayerFile,
    bundle_layers,
    layer_beside,
    runtime_layer,
    trust_layer,
)
from thoth_models_builder.oci.layout import claim, find_layers, workspace
from thoth_models_builder.pipeline.bill.bundle_bill import image_sbom
from thoth_models_builder.pipeline.bill.image_wheels import wheels_of_image
from thoth_models_builder.pipeline.deliver import Run, deliver, write_layouts
from thoth_models_builder.pipeline.destinations import parse_all, parse_base
from thoth_models_builder.pipeline.signing.check_attestations import packed_attestations
from thoth_models_builder.pipeline.signing.sign import read_signature
from thoth_models_builder.reports.results import ImageLayerReport, ImageManifestReport, ImageReport
from thoth_models_builder.storage.disk_space import Need, require_space
from thoth_models_builder.storage.files import open_regular, replace_file, temporary_directory, writing
from thoth_models_builder.trust.attestations.attestation_file import ATTESTATIONS_SUFFIX
from thoth_models_builder.trust.sbom import ImageContent, require_extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.oci.compose import Format
    from thoth_models_builder.oci.layers import Layer
    from thoth_models_builder.pipeline.destinations import BaseSource, Destination
    from thoth_models_builder.watcher import Watcher

__all__ = ["DEFAULT_PLATFORMS", "DEFAULT_ROOT", "ImageOptions", "image"]

DEFAULT_PLATFORMS = ("linux/amd64", "linux/arm64")
"""Default platforms of an image without a base; its files are the same on all of them."""

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?", re.ASCII)
_WHEEL = ".whl"
_DOCUMENTS = 1024 * 1024
"""Upper bound for the size of configurations, manifests and indexes, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOptions:
    """Options of ``image``.

    Attributes:
        bundle: The bundle directory.
        to: Destinations, such as ``oci:DIR``; see :mod:`thoth_models_builder.pipeline.destinations`.
        bases: Base images, such as ``docker:NAME``; several, if each is for other platforms. Empty for an image with
            only the bundle.
        wheels: Wheels, or directories of wheels, to put into ``/models-runtime``.
        platforms: Platforms, such as ``linux/amd64``; empty for all of the base, or :data:`DEFAULT_PLATFORMS`.
        format: ``image``, or ``modelpack`` for an artifact by the specification of the CNCF.
        root: Path of the bundle in the image.
        trust: A file or directory that says who must have signed the bundle, for a service that requires it; or None.
        name: ``NAME:TAG`` for destinations without a name; None for the name of the bundle and ``latest``.
        labels: Additional labels; they replace generated ones of the same name.
        plain_http: Use HTTP without TLS also for registries on other computers.
        sbom: The file for the bill of materials of the image, or None.
    """

    bundle: Path
    to: Sequence[str]
    bases: Sequence[str] = ()
    wheels: Sequence[Path] = ()
    platforms: Sequence[str] = ()
    format: Format = "image"
    root: str = DEFAULT_ROOT
    trust: Path | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    plain_http: bool = False
    sbom: Path | None = None


def image(options: ImageOptions, watcher: Watcher) -> ImageReport:
    """Pack a bundle as an image, and deliver it to each destination.

    Raises:
        BundleNotFoundError, ManifestError, VerificationError: The bundle is missing or not intact, or it changed; or
            none of those signed it whom the image is to trust.
        EnvironmentFault: What says who must have signed it cannot be used.
        UsageError: The options contradict each other, or the signature or the attestations beside the bundle are those
            of another one.
        NotEnoughSpaceError: A disk does not have enough space; nothing was written.
        OutputError: A destination cannot be written.
        ImageNotFoundError, LayoutError: The base is missing, or malformed.
        RegistryError, CredentialsError, EngineError: A registry or an engine failed, or refused a request.
    """
    started = time.monotonic()
    created = Created.read(os.environ)
    name = options.name or f"{open_bundle(options.bundle).manifest.name}:latest"
    targets = parse_all(options.to, name)
    _refuse_contradictions(options, targets)
    if options.sbom is not None:
        require_extra()
    bundle = verify(options.bundle, trust=options.trust)
    layers = _plan_layers(options, bundle, created)
    with contextlib.ExitStack() as stack:
        run = Run(
            targets=targets,
            layers=layers,
            watcher=watcher,
            work=_claim(targets, stack),
            plain_http=options.plain_http or None,
        )
        known = {} if run.work is None else find_layers(run.work, layers)
        _announce(run, known)
        _require_space(run, known, None)
        base = _open_base(options, run, stack)
        refuse_bundle(base, bundle.bundle_digest)
        refuse_many_layers(base, layers)
        _require_space(run, known, base)
        plan = Plan(
            format=options.format,
            manifest=bundle.manifest,
            bundle_digest=bundle.bundle_digest,
            layers=layers,
            base=base,
            texts=labels(bundle.manifest, bundle.bundle_digest, bundle.set_digest, created, options.labels),
            created=created,
            root=options.root,
        )
        digests = None if run.work is None else write_layouts(run, run.work, plan, known)
        outputs = []
        for target in targets:
            output, digests = deliver(run, target, plan, digests, known)
            outputs.append(output)
        if digests is None:
            raise RuntimeError("an image was delivered nowhere")
        composed = compose(plan, digests)
        if options.sbom is not None:
            _write_sbom(options.sbom, plan, name, composed.entry.digest, bundle, watcher)
    return ImageReport(
        format=options.format,
        digest=composed.entry.digest.hex,
        bundle_digest=bundle.bundle_digest.hex,
        set_digest=bundle.set_digest.hex,
        manifests=tuple(
            ImageManifestReport(platform=name, digest=Digest.of(manifest).hex, config_digest=Digest.of(config).hex)
            for name, manifest, config in zip(
                composed.platforms or ("",), composed.manifests, composed.configs, strict=True
            )
        ),
        base_layers=len(base.layers),
        layers=tuple(
            ImageLayerReport(
                name=layer.name, size=layer.size, digest=digest.hex, is_reused=known.get(layer.input_digest) == digest
            )
            for layer, digest in zip(layers, digests, strict=True)
        ),
        outputs=tuple(outputs),
        seconds=time.monotonic() - started,
    )


def _refuse_contradictions(options: ImageOptions, targets: Sequence[Destination]) -> None:
    if options.format == "modelpack":
        for target in targets:
            if target.kind in ("docker", "docker-archive"):
                raise UsageError(f"expected oci: or registry: for a ModelPack artifact, found {target.text}")
        for option, value in (("--base", options.bases), ("--platform", options.platforms), ("--trust", options.trust)):
            if value:
                raise UsageError(f"expected no {option} for a ModelPack artifact, which is not a runnable image")
    _refuse_trust_without_use(options)
    if own := sorted(name for name in options.labels if name.startswith(f"{PREFIX}.")):
        raise UsageError(f"expected labels other than those that say what the bundle is, found {', '.join(own)}")
    if len(set(options.platforms)) < len(options.platforms):
        raise UsageError(f"expected each platform once, found {', '.join(options.platforms)}")
    for text in options.platforms:
        if not _PLATFORM.fullmatch(text):
            raise UsageError(f"expected a platform such as linux/amd64, found {text!r}")
    _refuse_places_within(options, targets)


def _refuse_trust_without_use(options: ImageOptions) -> None:
    """Refuse ``--trust`` where no process would read it, or would read it in the bundle."""
    if options.trust is None:
        return
    if not options.bases:
        raise UsageError("expected --base beside --trust, found none: an image without one runs nothing")
    if options.trust.name.startswith(".") and not options.trust.is_dir():
        # It would be the one file of a directory, in which such files are passed over.
        raise UsageError(f"expected a file to trust whose name does not begin with a dot, found {options.trust}")
    if Path(TRUST_ROOT).is_relative_to(options.root):
        raise UsageError(f"expected a root of the bundle that {TRUST_ROOT} is not in, found {options.root}")


def _refuse_places_within(options: ImageOptions, targets: Sequence[Destination]) -> None:
    """Refuse destinations inside the bundle or the base, which writing would change."""
    kept = [options.bundle.resolve()]
    kept += [Path(source.place).resolve() for source in map(parse_base, options.bases) if source.kind == "oci"]
    for target in targets:
        place = Path(target.place).resolve()
        if target.kind == "docker-archive" and place.exists() and not place.is_file():
            raise UsageError(f"expected the path of a file, or of none yet, found something else at {target.text}")
        if target.kind in ("oci", "docker-archive") and any(place.is_relative_to(other) for other in kept):
            raise UsageError(f"expected a destination outside of the bundle and of the base, found {target.text}")
    kept += [Path(target.place).resolve() for target in targets if target.kind in ("oci", "docker-archive")]
    if options.sbom is not None and any(options.sbom.resolve().is_relative_to(other) for other in kept):
        raise UsageError(f"expected a bill of materials outside of bundle, base and destinations, found {options.sbom}")
    if options.sbom is not None and not options.sbom.resolve().parent.is_dir():
        raise UsageError(f"expected a file in a directory that exists for the bill of materials, found {options.sbom}")


def _write_sbom(  # noqa: PLR0913, PLR0917 - what the bill is about
    path: Path, plan: Plan, name: str, digest: Digest, bundle: VerificationReport, watcher: Watcher
) -> None:
    content = ImageContent(
        name=name,
        digest=digest,
        is_runnable=plan.format == "image",
        wheels=wheels_of_image(plan.base, plan.layers, watcher),
        is_complete=not plan.base.layers,
    )
    text = image_sbom(content, bundle.root, bundle.manifest, bundle.bundle_digest)
    with writing(path):
        replace_file(path, text.encode())


def _plan_layers(options: ImageOptions, bundle: VerificationReport, created: Created) -> tuple[Layer, ...]:
    *models, top = bundle_layers(bundle.manifest, bundle.root, root=options.root, mtime=created.seconds)
    wheels = [runtime_layer(_wheels(options.wheels), mtime=created.seconds)] if options.wheels else []
    signature, attestations = read_signature(bundle), packed_attestations(bundle)
    above = []
    if signature is not None:
        above.append(layer_beside("signature", signature, SIGNATURE_SUFFIX, root=options.root, mtime=created.seconds))
    if attestations is not None:
        above.append(
            layer_beside("attestations", attestations, ATTESTATIONS_SUFFIX, root=options.root, mtime=created.seconds)
        )
    if options.trust is not None:
        files = {path.name: content for path, content in read_trust_files(options.trust).items()}
        above.append(trust_layer(files, mtime=created.seconds))
    return (*models, *wheels, top, *above)


def _wheels(places: Sequence[Path]) -> list[LayerFile]:
    found: dict[str, LayerFile] = {}
    for place in places:
        paths = sorted(place.glob(f"*{_WHEEL}")) if place.is_dir() else [place]
        if not paths or any(path.suffix != _WHEEL for path in paths):
            raise UsageError(f"expected a wheel or a directory of wheels, found {place}")
        for path in paths:
            if path.name in found:
                raise UsageError(f"expected each wheel once, found two called {path.name}")
            try:
                with open_regular(path) as file:
                    content = hash_file(file)
            except OSError as error:
                raise UsageError(f"{path}: expected a readable wheel, found {error.strerror}") from error
            found[path.name] = LayerFile(path=path.name, size=content.size, sha256=content.sha256, origin=path)
    return list(found.values())


def _claim(targets: Sequence[Destination], stack: contextlib.ExitStack) -> Path | None:
    """Claim every layout to be written, and return the first; a temporary one if only registries need a layout."""
    layouts = [Path(target.place) for target in targets if target.kind == "oci"]
    if not layouts and any(target.kind == "registry" for target in targets):
        layouts = [_temporary(stack) / "layout"]
    for layout in layouts:
        stack.enter_context(claim(layout))
    return layouts[0] if layouts else None


def _temporary(stack: contextlib.ExitStack) -> Path:
    try:
        return stack.enter_context(temporary_directory())
    except OSError as error:
        raise OutputError(
            f"{error.filename or tempfile.gettempdir()}: expected a directory for temporary files, "
            f"found {error.strerror or error}"
        ) from error


def _announce(run: Run, known: Mapping[Digest, Digest]) -> None:
    total = sum(layer.size for layer in run.layers)
    run.watcher.note(f"{len(run.layers)} layers, {total:,} bytes")
    for layer in run.layers:
        there = ", there already" if layer.input_digest in known else ""
        run.watcher.note(f"  {layer.name}: {layer.size:,} bytes{there}")


def _require_space(run: Run, known: Mapping[Digest, Digest], base: Base | None) -> None:
    """Check that every disk has enough space, and report the peak usage."""
    ours = sum(layer.size for layer in run.layers if layer.input_digest not in known)
    theirs = 0 if base is None else sum(layer.size for layer in base.layers)
    needs = []
    if run.work is not None:
        # Blobs that this run fetched are linked where that is possible.
        needs.append(Need(path=run.work, bytes=ours + _DOCUMENTS + (0 if base and base.is_temporary else theirs)))
        for layout in run.layouts[1:]:
            if layout.stat().st_dev != run.work.stat().st_dev:
                total = sum(layer.size for layer in run.layers)
                needs.append(Need(path=layout, bytes=total + theirs + _DOCUMENTS))
    sizes = [*(layer.size for layer in run.layers), *(() if base is None else (layer.size for layer in base.layers))]
    needs += [
        Need(path=Path(target.place), bytes=largest_size(sizes, _DOCUMENTS))
        for target in run.targets
        if target.kind == "docker-archive"
    ]
    found = require_space(needs)
    if base is not None:
        for path, needed, free in found:
            run.watcher.note(f"peak disk: {needed:,} bytes at {path}, {free:,} bytes are free")


def _open_base(options: ImageOptions, run: Run, stack: contextlib.ExitStack) -> Base:
    """Return the images that the layers are put on; several bases become one, with the platforms of all."""
    if not options.bases:
        names = options.platforms or DEFAULT_PLATFORMS
        parts = [dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False)) for name in names]
        return Base(images=tuple(BaseImage(platform=part) for part in parts))
    sources = [parse_base(text) for text in options.bases]
    if len(sources) == 1 and sources[0].kind == "oci":
        layout = Path(sources[0].place)
        return Base(images=tuple(read_bases(layout, options.platforms)), layout=layout)
    directory = _temporary(stack) if run.work is None else stack.enter_context(workspace(run.work))
    layouts = [_fetch_base(source, directory / f"base-{index}", options, run) for index, source in enumerate(sources)]
    if len(layouts) == 1:
        images = read_bases(layouts[0], options.platforms)
    else:
        images = join_bases(layouts, directory / "joined", options.platforms)
    return Base(
        images=tuple(images),
        layout=layouts[0] if len(layouts) == 1 else directory / "joined",
        is_temporary=True,
        name=sources[0].place if len(sources) == 1 and sources[0].kind == "registry" else None,
        is_from_engine=any(source.kind == "docker" for source in sources),
    )


def _fetch_base(source: BaseSource, layout: Path, options: ImageOptions, run: Run) -> Path:
    """Return a layout with a base image: its own, or ``layout``, to which it is written."""
    # Imported here, because the HTTP client takes long to import and layouts do not need it.
    if source.kind == "docker":
        from thoth_models_builder.engine.client import save  # noqa: PLC0415

        save(source.place, layout)
    elif source.kind == "registry":
        from thoth_models_builder.registry.client import pull  # noqa: PLC0415

        # Of several bases, each has some of the platforms.
        wanted = options.platforms if len(options.bases) == 1 else ()
        pull(source.place, layout, platforms=wanted or None, watcher=run.watcher, plain_http=run.plain_http)
    else:
        return Path(source.place)
    return layout
