"""``image``: from a verified bundle to images, as a readable sequence of steps; wires the rooms ``oci`` and ``engine``.

What brings an image to where it goes is in :mod:`thoth_models_builder.delivering`.
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

from thoth_models.digest import Digest, hash_file
from thoth_models.verify import open_bundle, verify
from thoth_models_builder.delivering import Run, deliver, write_layouts
from thoth_models_builder.destinations import parse_all, parse_base
from thoth_models_builder.errors import UsageError
from thoth_models_builder.files import open_regular
from thoth_models_builder.oci.append import read_bases
from thoth_models_builder.oci.archive import largest_size
from thoth_models_builder.oci.compose import Base, Plan, compose, refuse_bundle, refuse_many_layers
from thoth_models_builder.oci.image import PREFIX, BaseImage, Created, labels
from thoth_models_builder.oci.layers import DEFAULT_ROOT, LayerFile, bundle_layers, runtime_layer
from thoth_models_builder.oci.layout import claim, find_layers, workspace
from thoth_models_builder.reports import ImageLayerReport, ImageManifestReport, ImageReport
from thoth_models_builder.space_on_disk import Need, require_space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.verify import VerificationReport
    from thoth_models_builder.destinations import Destination
    from thoth_models_builder.oci.compose import Format
    from thoth_models_builder.oci.layers import Layer
    from thoth_models_builder.reports import Watcher

__all__ = ["DEFAULT_PLATFORMS", "DEFAULT_ROOT", "ImageOptions", "image"]

DEFAULT_PLATFORMS = ("linux/amd64", "linux/arm64")
"""What a data image is for where nobody says otherwise: its files are the same on all of them."""

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?", re.ASCII)
_WHEEL = ".whl"
_DOCUMENTS = 1024 * 1024
"""More bytes than configurations, manifests and indexes take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOptions:
    """What to make an image of, and where it is to go.

    Attributes:
        bundle: The bundle directory.
        to: Destinations, such as ``oci:DIR``; see :mod:`thoth_models_builder.destinations`.
        base: What the layers are put on, such as ``docker:NAME``; None for an image of nothing else.
        wheels: Wheels, or directories of wheels, that are to lie in ``/models-runtime``.
        platforms: Such as ``linux/amd64``; empty for all of the base, or :data:`DEFAULT_PLATFORMS`.
        format: ``image``, or ``modelpack`` for an artifact by the CNCF's specification.
        root: Where the bundle is in the image.
        name: ``NAME:TAG`` for destinations that have none of their own; None for the bundle's name and ``latest``.
        labels: What the labels are to say besides, or instead.
        plain_http: Speak HTTP without TLS to registries also elsewhere than on this computer.
    """

    bundle: Path
    to: Sequence[str]
    base: str | None = None
    wheels: Sequence[Path] = ()
    platforms: Sequence[str] = ()
    format: Format = "image"
    root: str = DEFAULT_ROOT
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    plain_http: bool = False


def image(options: ImageOptions, watcher: Watcher) -> ImageReport:
    """Make an image of a bundle, and bring it to each destination.

    Raises:
        BundleNotFoundError, ManifestError, VerificationError: There is no intact bundle, or it changed meanwhile.
        UsageError: What was asked for does not go together.
        NotEnoughSpaceError: A disk cannot hold it; nothing was written.
        OutputError: A destination cannot be written.
        ImageNotFoundError, LayoutError: The base is not there, or not an image.
        RegistryError, CredentialsError, EngineError: A registry or an engine does not do its part.
    """
    started = time.monotonic()
    created = Created.read(os.environ)
    name = options.name or f"{open_bundle(options.bundle).manifest.name}:latest"
    targets = parse_all(options.to, name)
    _refuse_contradictions(options, targets)
    bundle = verify(options.bundle)
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
                name=layer.name, size=layer.size, digest=digest.hex, is_reused=known.get(layer.recipe) == digest
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
        for option, value in (("--base", options.base), ("--platform", options.platforms)):
            if value:
                raise UsageError(f"expected no {option} for a ModelPack artifact, which is no image that runs")
    if own := sorted(name for name in options.labels if name.startswith(f"{PREFIX}.")):
        raise UsageError(f"expected labels other than those that say what the bundle is, found {', '.join(own)}")
    if len(set(options.platforms)) < len(options.platforms):
        raise UsageError(f"expected each platform once, found {', '.join(options.platforms)}")
    for text in options.platforms:
        if not _PLATFORM.fullmatch(text):
            raise UsageError(f"expected a platform such as linux/amd64, found {text!r}")
    _refuse_places_within(options, targets)


def _refuse_places_within(options: ImageOptions, targets: Sequence[Destination]) -> None:
    """Refuse destinations in what the image is made of, which writing would change."""
    kept = [options.bundle.resolve()]
    if options.base is not None and (source := parse_base(options.base)).kind == "oci":
        kept.append(Path(source.place).resolve())
    for target in targets:
        place = Path(target.place).resolve()
        if target.kind == "docker-archive" and place.exists() and not place.is_file():
            raise UsageError(f"expected the path of a file, or of none yet, found something else at {target.text}")
        if target.kind in ("oci", "docker-archive") and any(place.is_relative_to(other) for other in kept):
            raise UsageError(f"expected a destination outside of the bundle and of the base, found {target.text}")


def _plan_layers(options: ImageOptions, bundle: VerificationReport, created: Created) -> tuple[Layer, ...]:
    *models, top = bundle_layers(bundle.manifest, bundle.root, root=options.root, mtime=created.seconds)
    if not options.wheels:
        return (*models, top)
    return (*models, runtime_layer(_wheels(options.wheels), mtime=created.seconds), top)


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
    """Claim every layout that is to be written, and return the first; a temporary one where only registries need it."""
    layouts = [Path(target.place) for target in targets if target.kind == "oci"]
    if not layouts and any(target.kind == "registry" for target in targets):
        layouts = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thoth-bundle-"))) / "layout"]
    for layout in layouts:
        stack.enter_context(claim(layout))
    return layouts[0] if layouts else None


def _announce(run: Run, known: Mapping[Digest, Digest]) -> None:
    total = sum(layer.size for layer in run.layers)
    run.watcher.note(f"{len(run.layers)} layers, {total:,} bytes")
    for layer in run.layers:
        there = ", there already" if layer.recipe in known else ""
        run.watcher.note(f"  {layer.name}: {layer.size:,} bytes{there}")


def _require_space(run: Run, known: Mapping[Digest, Digest], base: Base | None) -> None:
    """See that every disk can hold its part, and say how much that is at the most."""
    ours = sum(layer.size for layer in run.layers if layer.recipe not in known)
    theirs = 0 if base is None else sum(layer.size for layer in base.layers)
    needs = []
    if run.work is not None:
        # What was fetched just now gets a second name only, where that is possible.
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
    if options.base is None:
        names = options.platforms or DEFAULT_PLATFORMS
        parts = [dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False)) for name in names]
        return Base(images=tuple(BaseImage(platform=part) for part in parts))
    source = parse_base(options.base)
    if source.kind == "oci":
        layout = Path(source.place)
        return Base(images=tuple(read_bases(layout, options.platforms)), layout=layout)
    directory = (
        Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thoth-bundle-")))
        if run.work is None
        else stack.enter_context(workspace(run.work))
    )
    layout = directory / "base"
    # These bring an HTTP client, which nothing else here needs.
    if source.kind == "docker":
        from thoth_models_builder.engine import save  # noqa: PLC0415

        save(source.place, layout)
    else:
        from thoth_models_builder.oci.registry import pull  # noqa: PLC0415

        pull(
            source.place,
            layout,
            platforms=options.platforms or None,
            watcher=run.watcher,
            plain_http=run.plain_http,
        )
    return Base(
        images=tuple(read_bases(layout, options.platforms)),
        layout=layout,
        is_temporary=True,
        name=source.place if source.kind == "registry" else None,
        is_from_engine=source.kind == "docker",
    )
