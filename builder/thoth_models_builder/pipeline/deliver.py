"""Deliver an image to its destinations: layouts, archives, engines and registries.

Layouts share the blobs of the first one. The engine and docker-archives take layers from there or, if no destination
needs a layout, directly from the bundle.
"""

from __future__ import annotations

import contextlib
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import Digest
from thoth_models_builder.engine.archive_writer import StoredLayer, familiar_name, layer_name, stream_archive
from thoth_models_builder.errors import EngineError, OutputError, UsageError
from thoth_models_builder.oci.compose import compose, config_for, named
from thoth_models_builder.oci.descriptors import normal_platform, platform_name
from thoth_models_builder.oci.layer_stream import LayerStream
from thoth_models_builder.oci.layers import layer_descriptor
from thoth_models_builder.oci.layout import copy_blob, prune, share_blob, write_image, write_layer
from thoth_models_builder.oci.layout_files import blob_path, has_blob
from thoth_models_builder.reports.results import ImageOutputReport
from thoth_models_builder.storage.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from thoth_models_builder.engine.archive_writer import Part
    from thoth_models_builder.oci.compose import Composed, Plan
    from thoth_models_builder.oci.image_config import BaseImage
    from thoth_models_builder.oci.layers import Layer
    from thoth_models_builder.pipeline.destinations import Destination
    from thoth_models_builder.watcher import Watcher

_ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The state that all steps of one run share.

    Attributes:
        targets: Destinations.
        layers: Layers of the bundle, lowest first.
        watcher: Receives the progress.
        work: Claimed layout with the layers, or None if no destination needs one.
        plain_http: As for :func:`thoth_models_builder.registry.client.push`.
    """

    targets: Sequence[Destination]
    layers: tuple[Layer, ...]
    watcher: Watcher
    work: Path | None
    plain_http: bool | None = None

    @property
    def layouts(self) -> list[Path]:
        """Directories of the requested layouts."""
        return [Path(target.place) for target in self.targets if target.kind == "oci"]


# --- layouts ---


def write_layouts(run: Run, work: Path, plan: Plan, known: Mapping[Digest, Digest]) -> Sequence[Digest]:
    """Write the image to each layout, and return the digests of the bundle's layers."""
    missing = [layer for layer in run.layers if layer.input_digest not in known]
    written = dict(known)
    brought = [] if plan.base.layout is None else [blob for blob in plan.base.layers if not has_blob(work, blob)]
    copied = [] if plan.base.is_temporary else brought
    total = sum(layer.size for layer in missing) + sum(blob.size for blob in copied)
    with contextlib.ExitStack() as stack:
        advance = stack.enter_context(run.watcher.transfer("layers", total)) if total else lambda _: None
        for layer in missing:
            written[layer.input_digest] = write_layer(work, layer, advance)
        for blob in brought:
            if plan.base.layout is None:
                raise RuntimeError("layers of a base without a layout")
            if plan.base.is_temporary:
                share_blob(plan.base.layout, work, blob.digest)
            else:
                copy_blob(plan.base.layout, work, blob, advance)
    digests = [written[layer.input_digest] for layer in run.layers]
    composed = compose(plan, digests)
    _finish_layout(work, composed, run.targets)
    for other in run.layouts[1:]:
        for blob in composed.layers:
            share_blob(work, other, blob.digest)
        _finish_layout(other, composed, run.targets)
    return digests


def _finish_layout(layout: Path, composed: Composed, targets: Sequence[Destination]) -> None:
    """Write the documents, index.json last, and remove the blobs that only the previous image needs."""
    tag = next((target.reference.tag for target in targets if target.kind == "oci"), None)
    digests = write_image(layout, composed.documents, named(composed, tag or "latest"))
    prune(layout, {*digests, *(layer.digest for layer in composed.layers)})


# --- destinations ---


def deliver(
    run: Run, target: Destination, plan: Plan, digests: Sequence[Digest] | None, known: Mapping[Digest, Digest]
) -> tuple[ImageOutputReport, Sequence[Digest] | None]:
    """Deliver the image to a destination; return the result, and the digests of the bundle's layers."""
    if target.kind in ("docker", "docker-archive"):
        return _deliver_archive(run, target, plan, digests)
    if run.work is None or digests is None:
        raise RuntimeError(f"{target.text} without a layout")
    composed = compose(plan, digests)
    if target.kind == "oci":
        is_first = Path(target.place) == run.work
        sent = sum(layer.size for layer in run.layers if layer.input_digest not in known) if is_first else 0
        name = target.place
    else:
        from thoth_models_builder.registry.client import push  # noqa: PLC0415 - the HTTP client takes long to import

        report = push(
            run.work,
            target.place,
            mount_from=[] if plan.base.name is None else [plan.base.name],
            watcher=run.watcher,
            plain_http=run.plain_http,
        )
        sent, name = report.bytes_sent, report.reference
    output = ImageOutputReport(destination=target.text, name=name, digest=composed.entry.digest.hex, bytes=sent)
    return output, digests


def _deliver_archive(
    run: Run, target: Destination, plan: Plan, digests: Sequence[Digest] | None
) -> tuple[ImageOutputReport, Sequence[Digest]]:
    base = _for_this_machine(plan.base.images)
    parts: list[Part] = []
    if plan.base.layout is not None:
        for blob in base.layers:
            path = blob_path(plan.base.layout, blob.digest)
            parts.append(StoredLayer(path=path, descriptor=blob, name=f"{blob.digest}/layer.tar"))
    for index, layer in enumerate(run.layers):
        if run.work is None or digests is None:
            parts.append(LayerStream(layer))
        else:
            blob = layer_descriptor(layer, digests[index])
            path = blob_path(run.work, blob.digest)
            parts.append(StoredLayer(path=path, descriptor=blob, name=layer_name(layer)))
    found: list[Digest] = []

    def finish(all_digests: list[Digest]) -> bytes:
        found[:] = all_digests[len(base.layers) :]
        return config_for(plan, base, found)

    total = sum(part.size for part in parts)
    repository, tag = familiar_name(target.reference)
    pieces = stream_archive(parts, finish, target.reference, mtime=plan.created.seconds)
    with run.watcher.transfer(target.text, total) as advance:
        if target.kind == "docker":
            from thoth_models_builder.engine.client import load  # noqa: PLC0415 - the same

            loaded = load(_counted(pieces, advance), f"{repository}:{tag}")
            if list(loaded.layers) != json.loads(config_for(plan, base, found))["rootfs"]["diff_ids"]:
                raise EngineError(
                    f"{target.text}: expected the engine to have the layers of this image under {repository}:{tag}, "
                    f"found those of {loaded.id}"
                )
        else:
            total = _write_file(Path(target.place), pieces, advance)
    name = f"{repository}:{tag}"
    image_id = Digest.of(config_for(plan, base, found)).hex
    return ImageOutputReport(destination=target.text, name=name, digest=image_id, bytes=total), found


def _counted(pieces: Iterator[bytes | memoryview], advance: Callable[[int], None]) -> Iterator[bytes]:
    for piece in pieces:
        advance(len(piece))
        yield bytes(
            piece
        )  # a view is valid until the next piece is requested, and the client may request it before sending this one


def _for_this_machine(images: Sequence[BaseImage]) -> BaseImage:
    """Return the image for this machine; a single image is accepted, because the engine may emulate its platform.

    Raises:
        UsageError: There are several images, and none of them is for this machine.
    """
    wanted = f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}"
    names = [normal_platform(platform_name(one.platform)) for one in images]
    if wanted in names:
        return images[names.index(wanted)]
    if len(images) > 1:
        raise UsageError(f"expected an image for this machine, {wanted}, or one --platform of {', '.join(names)}")
    return images[0]


def _write_file(path: Path, pieces: Iterator[bytes | memoryview], advance: Callable[[int], None]) -> int:
    """Write an archive atomically, and return its length."""
    total = 0
    try:
        with replacing(path.resolve()) as file:  # a symlink is kept, and its target replaced
            for piece in pieces:
                file.write(piece)
                total += len(piece)
                advance(len(piece))
    except OSError as error:
        raise OutputError(f"{path}: expected to write an archive, found {error.strerror or error}") from error
    return total
