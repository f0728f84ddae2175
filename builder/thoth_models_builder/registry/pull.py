"""Pull an image from a registry into an image layout; a file gets its name after its digest was compared."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import ImageNotFoundError, RegistryError
from thoth_models_builder.net.body import BEGINNING, found_instead
from thoth_models_builder.net.retry import RetryableError, StallDetector
from thoth_models_builder.oci.descriptors import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEXES,
    MAX_DOCUMENT_SIZE,
    MAX_DOCUMENTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    check_media_type,
    children,
    normal_platform,
    parse_document,
    platform_name,
    unique,
)
from thoth_models_builder.oci.layout_files import blob_path, has_blob, unwritable, write_blob
from thoth_models_builder.registry.limits import together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from thoth_models_builder.oci.references import Reference
    from thoth_models_builder.registry.session import Response, Session

_ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_INDEX}, {DOCKER_MANIFEST}"
_OK, _PARTIAL = 200, 206
_MAX_DEPTH = 4
_REFERENCE_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, kw_only=True, slots=True)
class Puller:
    """One pull.

    Attributes:
        session: Session with the registry.
        reference: Image to pull.
        layout: Target, already prepared.
        platforms: ``os/architecture``, optionally with a variant; None for all.
    """

    session: Session
    reference: Reference
    layout: Path
    platforms: Collection[str] | None
    _blobs: list[Descriptor] = field(default_factory=list, init=False)
    _documents: set[Digest] = field(default_factory=set, init=False)

    async def documents(self) -> Descriptor:
        """Fetch manifests and indexes, and return the descriptor for index.json.

        Raises:
            ImageNotFoundError: The registry has no such image, or none for these platforms.
            RegistryError: A document is malformed or has another digest.
        """
        top, data = await self._document(self.reference.name, None)
        top = await self._follow(top, data, depth=0)
        annotations = {_REFERENCE_NAME: self.reference.tag} if self.reference.tag else {}
        return replace(top, annotations=annotations)

    def missing(self) -> list[Descriptor]:
        """Return the blobs that the layout lacks, by digest."""
        return [blob for blob in unique(self._blobs) if not has_blob(self.layout, blob)]

    async def fetch(self, blobs: Sequence[Descriptor], advance: Callable[[int], None]) -> None:
        """Fetch blobs; ``advance`` is called with the number of bytes as they arrive."""
        places = asyncio.Semaphore(self.session.limits.concurrency)

        async def one(blob: Descriptor) -> None:
            async with places:
                path = f"{self.reference.repository}/blobs/sha256:{blob.digest}"
                with _Partial(self.layout, blob) as partial_blob:
                    await self.session.retried(partial(_fetch, self.session, path, blob, partial_blob, advance))
                    partial_blob.finish(self.session.registry)

        await together(one(blob) for blob in blobs)

    async def _document(self, name: str, expected: Descriptor | None) -> tuple[Descriptor, bytes]:
        path = f"{self.reference.repository}/manifests/{name}"
        return await self.session.retried(partial(self._get_document, path, name, expected))

    async def _get_document(self, path: str, name: str, expected: Descriptor | None) -> tuple[Descriptor, bytes]:
        session = self.session
        place = f"{session.registry}/{self.reference.repository}: manifest {name}"
        async with session.exchange("GET", path, headers={"Accept": _ACCEPT}) as response:
            if response.status_code != _OK:
                raise await session.refusal(response, f"an image {self.reference}", ImageNotFoundError)
            data = await session.read(response, MAX_DOCUMENT_SIZE)
            if (instead := found_instead(response, data)) is not None:
                raise RegistryError(f"{place}: expected a document, found {instead}")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            stated = response.headers.get("Docker-Content-Digest")
        found = Digest.of(data)
        wanted = [f"sha256:{expected.digest}"] if expected else []
        wanted += [f"sha256:{self.reference.digest}"] if self.reference.digest and not expected else []
        wanted += [stated] if stated else []
        for digest in wanted:
            if digest != f"sha256:{found}":
                raise RegistryError(f"{place}: expected {digest:.100}, found sha256:{found}")
        try:
            document = parse_document(data)
            media_type = expected.media_type if expected else media_type
            if media_type in {"", "application/json"}:
                # The registry does not know the media type; current documents state it themselves.
                media_type = str(document.get("mediaType", ""))
            check_media_type(document, media_type)
            children(document, media_type)
        except ValueError as error:
            raise RegistryError(f"{place}: {error}") from error
        return Descriptor(media_type=media_type, digest=found, size=len(data)), data

    async def _follow(self, descriptor: Descriptor, data: bytes, *, depth: int) -> Descriptor:
        """Write a document and all below it; return its descriptor, which is a new one if some images were left out."""
        if depth > _MAX_DEPTH:
            raise RegistryError(f"{self.reference}: expected indexes nested at most {_MAX_DEPTH} deep, found more")
        document = parse_document(data)
        found = children(document, descriptor.media_type)
        if descriptor.media_type not in INDEXES:
            self._blobs.extend(found)
            if depth == 0 and self.platforms is not None:
                await self._check_platform(found)
            write_blob(self.layout, data)
            return descriptor
        # A nested index is kept unchanged: it belongs to one entry of the outer one.
        kept = [child for child in found if depth or self._is_wanted(child)]
        if not kept:
            there = ", ".join(sorted({platform_name(child.platform) or "no platform" for child in found})) or "nothing"
            asked = " or ".join(sorted(self.platforms or ()))
            raise ImageNotFoundError(
                f"{self.reference}: expected an image for {asked or 'some platform'}, found {there}"
            )
        # Each once, although an index may name it again and again.
        for child in unique(child for child in kept if child.digest not in self._documents):
            self._documents.add(child.digest)
            if len(self._documents) > MAX_DOCUMENTS:
                raise RegistryError(f"{self.reference}: expected at most {MAX_DOCUMENTS} documents, found more")
            child_descriptor, child_data = await self._document(f"sha256:{child.digest}", child)
            await self._follow(child_descriptor, child_data, depth=depth + 1)
        if len(kept) < len(found):
            descriptor, data = _narrowed(document, descriptor, {child.digest for child in kept})
        write_blob(self.layout, data)
        return descriptor

    def _is_wanted(self, child: Descriptor) -> bool:
        if self.platforms is None:
            return True
        name = platform_name(child.platform)
        without_variant = "/".join(name.split("/")[:2])
        wanted = {normal_platform(wanted) for wanted in self.platforms}
        return normal_platform(name) in wanted or without_variant in wanted

    async def _check_platform(self, found: Sequence[Descriptor]) -> None:
        """Compare the platform of a single image, stated in its configuration, with the wanted ones."""
        if not found:
            return
        config = found[0]
        if config.size > MAX_DOCUMENT_SIZE:
            raise RegistryError(f"{self.reference}: expected a small configuration, found {config.size} bytes")
        if not has_blob(self.layout, config):
            await self.fetch([config], lambda _: None)
        try:
            values = parse_document(blob_path(self.layout, config.digest).read_bytes())
        except ValueError as error:
            raise RegistryError(f"{self.reference}: configuration: {error}") from error
        platform = {name: text for name, text in values.items() if isinstance(text, str)}
        if not self._is_wanted(replace(config, platform=platform)):
            asked = " or ".join(sorted(self.platforms or ()))
            raise ImageNotFoundError(
                f"{self.reference}: expected an image for {asked}, found {platform_name(platform) or 'no platform'}"
            )


class _Partial:
    """A blob that is written to a temporary file and hashed as it arrives."""

    def __init__(self, layout: Path, blob: Descriptor) -> None:
        self._layout = layout
        self._blob = blob
        self._target = blob_path(layout, blob.digest)
        self._path = self._target.with_name(f".{blob.digest}.{os.getpid()}")
        self._hash = hashlib.sha256()
        self.size = 0
        self.instead: str | None = None  # what the answer looks like, if not like a blob

    def __enter__(self) -> Self:
        try:
            self._file: BinaryIO = self._path.open("wb")
        except OSError as error:
            raise unwritable(self._layout, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self._blob.size:
            found = self.instead or "more"
            raise RegistryError(f"blob sha256:{self._blob.digest}: expected {self._blob.size} bytes, found {found}")
        try:
            self._file.write(data)
        except OSError as error:
            raise unwritable(self._layout, error) from error
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def finish(self, registry: str) -> None:
        """Compare the digest and move the blob to its place."""
        found = Digest(self._hash.hexdigest())
        if found != self._blob.digest:
            seen = self.instead or str(found)
            raise RegistryError(f"{registry}: blob: expected sha256 {self._blob.digest}, found {seen}")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._path.replace(self._target)
        except OSError as error:
            raise unwritable(self._layout, error) from error


async def _fetch(
    session: Session, path: str, blob: Descriptor, target: _Partial, advance: Callable[[int], None]
) -> None:
    """Request the missing part of a blob once, and write the bytes as they arrive."""
    headers = {"Range": f"bytes={target.size}-"} if target.size else {}
    async with session.exchange("GET", path, headers=headers) as response:
        if response.status_code == _PARTIAL and target.size:
            stated = response.headers.get("Content-Range", "nothing")
            if not stated.startswith(f"bytes {target.size}-"):
                advance(-target.size)
                target.restart()
                raise RetryableError(f"{session.registry}: expected the rest of a blob, found {stated!r:.80}")
        elif response.status_code == _OK:
            # A registry without range support sends the whole blob again.
            advance(-target.size)
            target.restart()
        else:
            raise await session.refusal(response, f"blob sha256:{blob.digest}", RegistryError)
        await _receive(session, response, blob, target, advance)


async def _receive(
    session: Session, response: Response, blob: Descriptor, target: _Partial, advance: Callable[[int], None]
) -> None:
    stall = StallDetector(session.limits, f"{session.registry}: blob {blob.digest.short}")
    # Unbuffered: with a fixed piece size, bytes would be held back and a slow transfer would go unnoticed.
    async for data in response.aiter_raw():
        if target.size == 0:
            target.instead = found_instead(response, data[:BEGINNING])
        target.write(data)
        advance(len(data))
        stall.received(len(data))
    if target.size < blob.size:
        raise RetryableError(
            f"{session.registry}: blob {blob.digest.short}: expected {blob.size} bytes, "
            f"found {target.instead or f'the end after {target.size}'}"
        )


def _narrowed(document: dict[str, Any], descriptor: Descriptor, kept: Collection[Digest]) -> tuple[Descriptor, bytes]:
    """Return an index reduced to some of its images: a new document with another digest."""
    names = {f"sha256:{digest}" for digest in kept}
    manifests = [entry for entry in document["manifests"] if entry["digest"] in names]
    data = json.dumps({**document, "manifests": manifests}, sort_keys=True, separators=(",", ":")).encode()
    return replace(descriptor, digest=Digest.of(data), size=len(data)), data
