"""Push an image layout to a registry: only missing blobs, each compared with its digest, and the tag last.

What a registry says is compared with what it says when it is asked again: before the tag, each blob that it took is
there with its length, and behind the tag is the manifest, byte for byte. A registry that lies always, and to those who
push alone, is found out by those who pull, who compare each byte.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import ImageReferenceError, LayoutError, RegistryError
from thoth_models_builder.net.retry import RetryableError
from thoth_models_builder.oci.descriptors import INDEXES, Descriptor, check_media_type, children, parse_document, unique
from thoth_models_builder.oci.layout_files import blob_path, read_document, read_index
from thoth_models_builder.registry.limits import together
from thoth_models_builder.storage.files import open_regular

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from thoth_models_builder.oci.references import Reference
    from thoth_models_builder.registry.session import Response, Session

Outcome = Literal["sent", "present", "mounted"]

_PIECE = 256 * 1024
"""Bytes per write. Together with ``Limits.write``, the time for one write, this bounds how slow an upload may be."""

_OK, _CREATED, _ACCEPTED, _NOT_FOUND = 200, 201, 202, 404
_MAX_DEPTH = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class PushedBlob:
    """The outcome for one blob.

    Attributes:
        digest: Digest of the blob.
        size: Length in bytes.
        media_type: Media type.
        outcome: ``sent``, ``present`` if the repository had it, or ``mounted`` from another repository.
        mounted_from: That repository, or None.
    """

    digest: Digest
    size: int
    media_type: str
    outcome: Outcome
    mounted_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PushReport:
    """The result of a push.

    Attributes:
        reference: Reference that was pushed, with its tag.
        digest: Digest of the manifest or index that the reference now points to.
        manifests: Digests of all manifests and indexes; the last one is ``digest``.
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
    """The content of a layout.

    Attributes:
        top: The entry of index.json.
        documents: Manifests and indexes with their bytes, each after those that it points to.
        blobs: All other blobs, each once.
    """

    top: Descriptor
    documents: tuple[tuple[Descriptor, bytes], ...]
    blobs: tuple[Descriptor, ...]


def read_contents(layout: Path) -> Contents:
    """Follow a layout from its index.json to every blob, and check that each exists with its length.

    Raises:
        LayoutError: A file is missing or wrong, or index.json does not have exactly one entry.
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
    if depth > _MAX_DEPTH:
        raise LayoutError(f"{layout}: expected indexes nested at most {_MAX_DEPTH} deep, found more")
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
    """The state of one blob during a push."""

    descriptor: Descriptor
    outcome: Outcome | None = None
    mounted_from: str | None = None
    upload: str | None = field(default=None, repr=False)
    """Address of an upload that the registry opened instead of mounting the blob."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pusher:
    """One push.

    Attributes:
        session: Session with the registry.
        reference: Target.
        layout: Layout to push.
        mount_from: Repositories of the same registry that may have a blob, in the order of trying.
    """

    session: Session
    reference: Reference
    layout: Path
    mount_from: Sequence[str]

    async def find(self, contents: Contents) -> list[_Blob]:
        """Check which blobs the registry has, and mount those that it has in another repository."""
        blobs = [_Blob(descriptor=descriptor) for descriptor in contents.blobs]
        await self._each(blobs, self._find_one)
        return blobs

    async def send(self, blobs: Sequence[_Blob], advance: Callable[[int], None]) -> None:
        """Send the missing blobs; ``advance`` is called with the number of bytes as they are sent."""
        await self._each([blob for blob in blobs if blob.outcome is None], lambda blob: self._send_one(blob, advance))

    async def confirm(self, blobs: Sequence[_Blob]) -> None:
        """Check that the registry has the blobs that it took, each with its length.

        Raises:
            RegistryError: It has not.
        """
        await self._each([blob for blob in blobs if blob.outcome != "present"], self._confirm_one)

    async def publish(self, contents: Contents) -> None:
        """Upload manifests and indexes, the reference last, and compare the digest that the registry has of each."""
        for descriptor, data in contents.documents:
            is_top = descriptor.digest == contents.top.digest
            name = self.reference.name if is_top else f"sha256:{descriptor.digest}"
            await self.session.retried(partial(self._put_document, descriptor, data, name))

    def report(self, contents: Contents, blobs: Sequence[_Blob]) -> PushReport:
        """Return the result."""
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
        """Run ``work`` for several blobs at once; the first failure cancels the others."""
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
            # One of another length is sent again, and looked at again then.
            if response.status_code == _OK and not _other_length(response, blob.descriptor):
                blob.outcome = "present"
                return
            # A server behind a redirect may not answer HEAD as a registry does; the blob is then sent.
            if response.status_code not in {_OK, _NOT_FOUND} and not response.history:
                raise await self.session.refusal(response, f"to learn whether it has blob {digest.short}")
        for repository in self.mount_from:
            await self._abandon(blob)
            path = self._path(f"blobs/uploads/?mount=sha256%3A{digest}&from={quote(repository, safe='')}")
            async with self.session.exchange("POST", path, is_optional=True) as response:
                if response.status_code == _CREATED:
                    blob.outcome, blob.mounted_from = "mounted", repository
                    return
                if response.status_code == _ACCEPTED:
                    # It cannot mount the blob, and opened an upload instead.
                    blob.upload = self.session.location(response)

    async def _abandon(self, blob: _Blob) -> None:
        """Cancel an upload that is not needed; registries without cancellation let it expire."""
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
        sent = 0

        def count_sent(count: int) -> None:
            nonlocal sent
            sent += count
            advance(count)

        try:
            await self._put_blob(address, blob.descriptor, count_sent)
        except BaseException:
            # The next attempt starts from the beginning.
            advance(-sent)
            raise
        blob.outcome = "sent"

    async def _put_blob(self, address: str, descriptor: Descriptor, sent: Callable[[int], None]) -> None:
        what = f"blob {descriptor.digest.short}"
        async with self.session.exchange(
            "PUT",
            address,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)},
            content=_pieces(blob_path(self.layout, descriptor.digest), descriptor, sent),
            read_seconds=self.session.limits.commit,
        ) as response:
            if response.status_code != _CREATED:
                raise await self.session.refusal(response, f"{what} to be accepted with 201")
            self._compare(response.headers.get("Docker-Content-Digest"), descriptor.digest, what)

    async def _confirm_one(self, blob: _Blob) -> None:
        what = f"blob {blob.descriptor.digest.short}"
        async with self.session.exchange("HEAD", self._path(f"blobs/sha256:{blob.descriptor.digest}")) as response:
            if response.history:
                return  # as in _find_one
            if response.status_code == _NOT_FOUND:
                # Another attempt, because some registries need a moment.
                raise RetryableError(f"{self.session.registry}: expected it to have {what}, which it took, found none")
            if response.status_code != _OK:
                raise await self.session.refusal(response, f"it to have {what}, which it took")
            if (found := _other_length(response, blob.descriptor)) is not None:
                raise RegistryError(
                    f"{self.session.registry}: {what}: expected {blob.descriptor.size} bytes, found {found}"
                )

    async def _put_document(self, descriptor: Descriptor, data: bytes, name: str) -> None:
        path = self._path(f"manifests/{name}")
        what = f"manifest {name}"
        async with self.session.exchange(
            "PUT", path, headers={"Content-Type": descriptor.media_type}, content=data
        ) as response:
            if response.status_code not in {_OK, _CREATED, _ACCEPTED}:
                raise await self.session.refusal(response, f"{what} to be accepted with 201")
            self._compare(response.headers.get("Docker-Content-Digest"), descriptor.digest, what)
        # The header is optional, and says what was sent. What others get is read back.
        async with self.session.exchange("GET", path, headers={"Accept": descriptor.media_type}) as response:
            if response.status_code != _OK:
                raise await self.session.refusal(response, f"{what}, which it accepted")
            found = f"sha256:{Digest.of(await self.session.read(response, descriptor.size))}"
        self._compare(found, descriptor.digest, what)

    def _compare(self, stated: str | None, digest: Digest, what: str) -> None:
        if stated is not None and stated != f"sha256:{digest}":
            raise RegistryError(f"{self.session.registry}: {what}: expected sha256:{digest}, found {stated!r:.100}")


def _other_length(response: Response, descriptor: Descriptor) -> str | None:
    """Return the length that an answer states, if it is another one than that of the blob."""
    stated: str | None = response.headers.get("Content-Length")
    return None if response.history or stated in {None, str(descriptor.size)} else stated


async def _pieces(path: Path, descriptor: Descriptor, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    """Yield a blob in pieces; compare its digest before the last one, so that a changed blob never arrives complete.

    Raises:
        LayoutError: The bytes do not match the digest.
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
                    sent(len(held))
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
        sent(len(held))
