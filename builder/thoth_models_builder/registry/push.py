"""Sending an image layout to a registry: only what it lacks, each byte hashed on its way, the tag last."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from thoth_models.digest import Digest
from thoth_models_builder.errors import ImageReferenceError, LayoutError, RegistryError
from thoth_models_builder.files import open_regular
from thoth_models_builder.oci.descriptors import INDEXES, Descriptor, check_media_type, children, parse_document, unique
from thoth_models_builder.oci.limits import together
from thoth_models_builder.oci.stored import blob_path, read_document, read_index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from thoth_models_builder.oci.references import Reference
    from thoth_models_builder.oci.session import Session

Outcome = Literal["sent", "present", "mounted"]

_PIECE = 256 * 1024
"""Bytes per write. Limits.write is how long one may take, so the two together say how slow is too slow."""

_OK, _CREATED, _ACCEPTED, _NOT_FOUND = 200, 201, 202, 404
_DEEPEST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class PushedBlob:
    """What became of one blob.

    Attributes:
        digest: Its digest.
        size: Length in bytes.
        media_type: What it is.
        outcome: ``sent``, ``present`` where the registry had it in this repository, ``mounted`` from another one.
        mounted_from: That repository; None otherwise.
    """

    digest: Digest
    size: int
    media_type: str
    outcome: Outcome
    mounted_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PushReport:
    """What a push did.

    Attributes:
        reference: What was pushed, with its tag.
        digest: Of the manifest or index that the reference names now, the same here and in the registry.
        manifests: Digests of all manifests and indexes, the last one that of the reference.
        blobs: Each blob once, in the order of the manifests.
    """

    reference: str
    digest: Digest
    manifests: tuple[Digest, ...]
    blobs: tuple[PushedBlob, ...]

    @property
    def bytes_sent(self) -> int:
        """Length of the blobs that were sent, in bytes."""
        return sum(blob.size for blob in self.blobs if blob.outcome == "sent")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """Everything that a layout holds for one push.

    Attributes:
        top: The entry of its index.json.
        documents: Manifests and indexes with their bytes, each after what it points to.
        blobs: The others, each once.
    """

    top: Descriptor
    documents: tuple[tuple[Descriptor, bytes], ...]
    blobs: tuple[Descriptor, ...]


def read_contents(layout: Path) -> Contents:
    """Follow a layout from its index.json to every blob, and see that each is there with its length.

    Raises:
        LayoutError: Something is missing or wrong, or there is not exactly one entry.
    """
    entries = read_index(layout)
    if len(entries) != 1:
        raise LayoutError(f"{layout}/index.json: expected one manifest or index, found {len(entries)}")
    documents: dict[Digest, tuple[Descriptor, bytes]] = {}
    blobs: list[Descriptor] = []
    _follow(layout, entries[0], documents, blobs, depth=0)
    found = unique(blobs)
    for blob in found:
        path = blob_path(layout, blob.digest)
        try:
            with open_regular(path) as file:
                size = file.seek(0, 2)
        except OSError as error:
            raise LayoutError(f"{path}: expected a blob of {blob.size} bytes, found {error.strerror}") from error
        if size != blob.size:
            raise LayoutError(f"{path}: expected {blob.size} bytes, found {size}")
    return Contents(top=entries[0], documents=tuple(documents.values()), blobs=tuple(found))


def _follow(
    layout: Path,
    descriptor: Descriptor,
    documents: dict[Digest, tuple[Descriptor, bytes]],
    blobs: list[Descriptor],
    *,
    depth: int,
) -> None:
    if depth > _DEEPEST:
        raise LayoutError(f"{layout}: expected indexes nested at most {_DEEPEST} deep, found more")
    data = read_document(layout, descriptor)
    try:
        document = parse_document(data)
        check_media_type(document, descriptor.media_type)
        found = children(document, descriptor.media_type)
    except ValueError as error:
        raise LayoutError(f"{blob_path(layout, descriptor.digest)}: {error}") from error
    for child in found:
        if descriptor.media_type in INDEXES:
            if child.digest not in documents:
                _follow(layout, child, documents, blobs, depth=depth + 1)
        else:
            blobs.append(child)
    documents.setdefault(descriptor.digest, (descriptor, data))


@dataclass(kw_only=True, slots=True)
class _Blob:
    """A blob on its way."""

    descriptor: Descriptor
    outcome: Outcome | None = None
    mounted_from: str | None = None
    upload: str | None = field(default=None, repr=False)
    """Address of an upload that the registry has opened already, instead of mounting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pusher:
    """One push.

    Attributes:
        session: With the registry, for the repository of the reference.
        reference: Where to.
        layout: From where.
        mount_from: Repositories of the same registry that may have a blob already, in the order of asking.
    """

    session: Session
    reference: Reference
    layout: Path
    mount_from: Sequence[str]

    async def find(self, contents: Contents) -> list[_Blob]:
        """Ask for each blob whether the registry has it, and mount what it has elsewhere."""
        blobs = [_Blob(descriptor=descriptor) for descriptor in contents.blobs]
        await self._each(blobs, self._find_one)
        return blobs

    async def send(self, blobs: Sequence[_Blob], advance: Callable[[int], None]) -> None:
        """Send the blobs that were found nowhere; ``advance`` is told of bytes as they leave."""
        await self._each([blob for blob in blobs if blob.outcome is None], lambda blob: self._send_one(blob, advance))

    async def publish(self, contents: Contents) -> None:
        """Put the manifests and indexes, then the reference, and compare the digest that the registry has for each."""
        for descriptor, data in contents.documents:
            is_top = descriptor.digest == contents.top.digest
            name = self.reference.name if is_top else f"sha256:{descriptor.digest}"
            await self.session.retried(partial(self._put_document, descriptor, data, name))

    def report(self, contents: Contents, blobs: Sequence[_Blob]) -> PushReport:
        """Return what was done."""
        return PushReport(
            reference=str(self.reference),
            digest=contents.top.digest,
            manifests=tuple(descriptor.digest for descriptor, _ in contents.documents),
            blobs=tuple(
                PushedBlob(
                    digest=blob.descriptor.digest,
                    size=blob.descriptor.size,
                    media_type=blob.descriptor.media_type,
                    outcome=blob.outcome or "sent",
                    mounted_from=blob.mounted_from,
                )
                for blob in blobs
            ),
        )

    async def _each(self, blobs: Sequence[_Blob], work: Callable[[_Blob], Awaitable[None]]) -> None:
        """Do something for several blobs at once; the first failure ends the others."""
        places = asyncio.Semaphore(self.session.limits.concurrency)

        async def one(blob: _Blob) -> None:
            async with places:
                await self.session.retried(lambda: work(blob))

        await together(one(blob) for blob in blobs)

    def _path(self, rest: str) -> str:
        return f"{self.reference.repository}/{rest}"

    async def _find_one(self, blob: _Blob) -> None:
        digest = blob.descriptor.digest
        async with self.session.exchange("HEAD", self._path(f"blobs/sha256:{digest}")) as response:
            if response.status_code == _OK:
                blob.outcome = "present"
                return
            # What lies behind a redirect may not answer HEAD as a registry does: sending again is then the safe way.
            if response.status_code != _NOT_FOUND and not response.history:
                raise await self.session.refusal(response, f"to learn whether it has blob {digest.short}")
        for repository in self.mount_from:
            await self._abandon(blob)
            path = self._path(f"blobs/uploads/?mount=sha256%3A{digest}&from={quote(repository, safe='')}")
            async with self.session.exchange("POST", path, is_optional=True) as response:
                if response.status_code == _CREATED:
                    blob.outcome, blob.mounted_from = "mounted", repository
                    return
                if response.status_code == _ACCEPTED:
                    # It cannot mount that one, and has opened an upload instead.
                    blob.upload = self.session.location(response)

    async def _abandon(self, blob: _Blob) -> None:
        """Close an upload that is not needed; a registry that cannot do so forgets it after a while."""
        if blob.upload is not None:
            async with self.session.exchange("DELETE", blob.upload):
                blob.upload = None

    async def _send_one(self, blob: _Blob, advance: Callable[[int], None]) -> None:
        digest = blob.descriptor.digest
        if blob.upload is None:
            async with self.session.exchange("POST", self._path("blobs/uploads/")) as response:
                if response.status_code != _ACCEPTED:
                    raise await self.session.refusal(
                        response, f"HTTP status 202 to an upload to {self.reference.repository}", ImageReferenceError
                    )
                blob.upload = self.session.location(response)
        address, blob.upload = blob.upload, None
        address = f"{address}{'&' if '?' in address else '?'}digest=sha256%3A{digest}"
        told: list[int] = []

        def tell(count: int) -> None:
            told.append(count)
            advance(count)

        try:
            await self._put_blob(address, blob.descriptor, tell)
        except BaseException:
            # Another attempt begins at the start.
            advance(-sum(told))
            raise
        blob.outcome = "sent"

    async def _put_blob(self, address: str, descriptor: Descriptor, tell: Callable[[int], None]) -> None:
        what = f"blob {descriptor.digest.short}"
        async with self.session.exchange(
            "PUT",
            address,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)},
            content=_pieces(blob_path(self.layout, descriptor.digest), descriptor, tell),
            read_seconds=self.session.limits.commit,
        ) as response:
            if response.status_code != _CREATED:
                raise await self.session.refusal(response, f"{what} to be accepted with 201")
            self._compare(response.headers.get("Docker-Content-Digest"), descriptor.digest, what)

    async def _put_document(self, descriptor: Descriptor, data: bytes, name: str) -> None:
        path = self._path(f"manifests/{name}")
        what = f"manifest {name}"
        async with self.session.exchange(
            "PUT", path, headers={"Content-Type": descriptor.media_type}, content=data
        ) as response:
            if response.status_code not in {_OK, _CREATED, _ACCEPTED}:
                raise await self.session.refusal(response, f"{what} to be accepted with 201")
            stated = response.headers.get("Docker-Content-Digest")
        if stated is None:
            # The header is optional: what it has under that name is then looked at.
            headers = {"Accept": descriptor.media_type}
            async with self.session.exchange("GET", path, headers=headers) as response:
                if response.status_code != _OK:
                    raise await self.session.refusal(response, f"{what}, which it accepted")
                stated = f"sha256:{Digest.of(await self.session.read(response, descriptor.size))}"
        self._compare(stated, descriptor.digest, what)

    def _compare(self, stated: str | None, digest: Digest, what: str) -> None:
        if stated is not None and stated != f"sha256:{digest}":
            raise RegistryError(f"{self.session.registry}: {what}: expected sha256:{digest}, found {stated!r:.100}")


async def _pieces(path: Path, descriptor: Descriptor, tell: Callable[[int], None]) -> AsyncIterator[bytes]:
    """Read a blob in pieces and compare its digest before the last of them leaves: a changed blob never arrives whole.

    Raises:
        LayoutError: The bytes are not those of the digest.
    """
    hasher = hashlib.sha256()
    size = 0
    held = b""
    try:
        with open_regular(path) as file:
            while piece := file.read(_PIECE):
                hasher.update(piece)
                size += len(piece)
                if held:
                    yield held
                    tell(len(held))
                held = piece
    except OSError as error:
        raise LayoutError(f"{path}: expected a blob of {descriptor.size} bytes, found {error.strerror}") from error
    found = Digest(hasher.hexdigest())
    if size != descriptor.size or found != descriptor.digest:
        raise LayoutError(
            f"{path}: expected {descriptor.size} bytes with sha256 {descriptor.digest}, found {size} with {found}"
        )
    if held:
        yield held
        tell(len(held))
