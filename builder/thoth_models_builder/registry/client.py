"""Sending images to registries and fetching them, by the OCI distribution specification.

Credentials are those of the Docker configuration. Every wait has an end, and no message carries a secret. Plain HTTP is
spoken to this computer only, unless it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from thoth_models_builder.errors import ImageReferenceError, RegistryUnreachableError
from thoth_models_builder.oci.limits import Limits
from thoth_models_builder.oci.pull import Puller
from thoth_models_builder.oci.push import PushedBlob, Pusher, PushReport, read_contents
from thoth_models_builder.oci.references import Reference
from thoth_models_builder.oci.session import Session
from thoth_models_builder.oci.stored import prepare_layout, write_index

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from thoth_models_builder.oci.descriptors import Descriptor
    from thoth_models_builder.reports import Watcher

__all__ = ["Limits", "PushReport", "PushedBlob", "pull", "push"]

_T = TypeVar("_T")


def push(  # noqa: PLR0913 - each a choice of its own
    layout: Path,
    reference: str,
    *,
    mount_from: Sequence[str] = (),
    watcher: Watcher | None = None,
    deadline: float | None = None,
    plain_http: bool | None = None,
    limits: Limits | None = None,
) -> PushReport:
    """Send the image, index or artifact of a layout to a registry: blobs that it lacks, manifests, then the tag.

    Args:
        layout: An OCI image layout with one entry in its index.json.
        reference: ``HOST/NAME:TAG``.
        mount_from: References whose repositories may have some of the blobs, such as the one that the base image came
            from. The registry then takes a blob from there; those of other registries are passed over.
        watcher: Told of the bytes that are sent.
        deadline: Seconds that all of it may take; None for what the size allows for.
        plain_http: True for HTTP without TLS, False for TLS always; None for TLS but on this computer.
        limits: Bounds on each wait.

    Returns:
        What became of each blob. A second push of the same layout sends none.

    Raises:
        ImageReferenceError: The reference is none, or has no tag, or another digest than the layout.
        LayoutError: The layout is not whole, or a blob has other bytes than its digest says. No tag was put then.
        CredentialsError: The registry wants others than the Docker configuration has.
        RegistryError: The registry or the network failed, or it has another digest than was sent.
    """
    target = Reference.parse(reference)
    target.name  # noqa: B018 - a tag or a digest, before anything is read
    contents = read_contents(layout)
    if target.digest is not None and target.digest != contents.top.digest:
        raise ImageReferenceError(f"{target}: expected the digest of {layout}, which is sha256:{contents.top.digest}")
    bounds = limits or Limits()
    size = sum(blob.size for blob in contents.blobs)
    elsewhere = list(
        dict.fromkeys(
            other.repository
            for other in map(Reference.parse, mount_from)
            if other.registry == target.registry and other.repository != target.repository
        )
    )

    async def work(_: asyncio.Timeout) -> PushReport:
        session = Session(
            target.registry,
            scopes=[f"repository:{target.repository}:pull,push"],
            optional_scopes=[f"repository:{repository}:pull" for repository in elsewhere],
            plain_http=plain_http,
            limits=bounds,
        )
        async with session:
            pusher = Pusher(session=session, reference=target, layout=layout, mount_from=elsewhere)
            blobs = await pusher.find(contents)
            to_send = sum(blob.descriptor.size for blob in blobs if blob.outcome is None)
            with _transfer(watcher, f"push {target}", to_send) as advance:
                await pusher.send(blobs, advance)
            await pusher.publish(contents)
            return pusher.report(contents, blobs)

    return _run(work, bounds.deadline(size) if deadline is None else deadline, f"to push {target}")


def pull(  # noqa: PLR0913 - as above
    reference: str,
    layout: Path,
    *,
    platforms: Collection[str] | None = None,
    watcher: Watcher | None = None,
    deadline: float | None = None,
    plain_http: bool | None = None,
    limits: Limits | None = None,
) -> Descriptor:
    """Fetch an image, or an index with its images, into a layout; each blob is compared with its digest on the way.

    Args:
        reference: ``HOST/NAME:TAG`` or ``HOST/NAME@sha256:…``.
        layout: A new directory, or a layout, whose blobs are taken over where they are whole and whose index.json is
            replaced at the end.
        platforms: Such as ``linux/amd64``: of an index only these are fetched, and if that leaves some out, the index
            that is kept is another one, with another digest. None for all there is, byte for byte.
        watcher: Told of the bytes that come.
        deadline: Seconds that all of it may take; None for what the size allows for.
        plain_http: As for :func:`push`.
        limits: Bounds on each wait.

    Returns:
        The entry of index.json. Documents keep their media types, also Docker's older ones.

    Raises:
        ImageReferenceError: The reference is none, or has neither tag nor digest.
        ImageNotFoundError: The registry has no such image, or not for these platforms.
        CredentialsError: The registry wants others than the Docker configuration has.
        RegistryError: The registry or the network failed, or what came has another digest.
        OutputError: The layout cannot be written.
    """
    source = Reference.parse(reference)
    source.name  # noqa: B018 - a tag or a digest, before anything is written
    prepare_layout(layout)
    bounds = limits or Limits()

    async def work(clock: asyncio.Timeout) -> Descriptor:
        scopes = [f"repository:{source.repository}:pull"]
        async with Session(source.registry, scopes=scopes, plain_http=plain_http, limits=bounds) as session:
            puller = Puller(session=session, reference=source, layout=layout, platforms=platforms)
            entry = await puller.documents()
            blobs = puller.missing()
            size = sum(blob.size for blob in blobs)
            if deadline is None:
                # How large it is, is known only now.
                clock.reschedule(asyncio.get_running_loop().time() + bounds.deadline(size))
            with _transfer(watcher, f"pull {source}", size) as advance:
                await puller.fetch(blobs, advance)
        write_index(layout, [entry])
        return entry

    return _run(work, bounds.total if deadline is None else deadline, f"to pull {source}")


def _run(work: Callable[[asyncio.Timeout], Coroutine[object, object, _T]], deadline: float, expected: str) -> _T:
    started = time.monotonic()

    async def bounded() -> _T:
        async with asyncio.timeout(deadline) as clock:
            return await work(clock)

    try:
        return asyncio.run(bounded())
    except TimeoutError as error:
        elapsed = time.monotonic() - started
        raise RegistryUnreachableError(
            f"expected {expected} in time, found it unfinished after {elapsed:.1f} s"
        ) from error


@contextlib.contextmanager
def _transfer(watcher: Watcher | None, label: str, size: int) -> Iterator[Callable[[int], None]]:
    if watcher is None or not size:
        yield lambda _: None
        return
    transfer: AbstractContextManager[Callable[[int], None]] = watcher.transfer(label, size)
    with transfer as advance:
        yield advance
