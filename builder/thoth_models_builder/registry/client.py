"""Push images to registries and pull them, by the OCI distribution specification.

Credentials come from the Docker configuration. Every wait is bounded, and no message contains a secret. Plain HTTP is
used for registries on this computer only, unless the caller asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from thoth_models_builder.errors import ImageReferenceError, RegistryUnreachableError
from thoth_models_builder.net.retry import run_requests
from thoth_models_builder.oci.layout_files import prepare_layout, write_index
from thoth_models_builder.oci.references import Reference
from thoth_models_builder.registry.limits import Limits
from thoth_models_builder.registry.pull import Puller
from thoth_models_builder.registry.push import PushedBlob, Pusher, PushReport, read_contents
from thoth_models_builder.registry.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from thoth_models_builder.oci.descriptors import Descriptor
    from thoth_models_builder.watcher import Watcher

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
    """Push the image, index or artifact of a layout: missing blobs first, then manifests, then the tag.

    Args:
        layout: An OCI image layout with one entry in its index.json.
        reference: ``HOST/NAME:TAG``.
        mount_from: References whose repositories may have some of the blobs, such as that of the base image. The
            registry then mounts a blob from there; references to other registries are ignored.
        watcher: Receives the progress.
        deadline: Seconds for the whole push; None to derive them from the size.
        plain_http: True for HTTP without TLS, False for TLS; None for TLS except on this computer.
        limits: Bounds on each wait.

    Returns:
        The outcome for each blob. A second push of the same layout sends none.

    Raises:
        ImageReferenceError: The reference is malformed, or has no tag, or another digest than the layout.
        LayoutError: The layout is incomplete, or a blob does not match its digest. The tag was not written then.
        CredentialsError: The registry rejects the credentials of the Docker configuration, or requires some.
        RegistryError: The registry or the network failed, or the registry reports another digest.
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
            await pusher.confirm(blobs)
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
    """Pull an image, or an index with its images, into a layout; compare each blob with its digest.

    Args:
        reference: ``HOST/NAME:TAG`` or ``HOST/NAME@sha256:…``.
        layout: A new directory or a layout. Intact blobs are reused, and index.json is replaced at the end.
        platforms: Platforms to pull, such as ``linux/amd64``. If some images of an index are left out, the layout gets
            a reduced index with another digest. None pulls everything unchanged.
        watcher: Receives the progress.
        deadline: Seconds for the whole pull; None to derive them from the size.
        plain_http: As for :func:`push`.
        limits: Bounds on each wait.

    Returns:
        The entry of index.json. Documents keep their media types, including the older ones of Docker.

    Raises:
        ImageReferenceError: The reference is malformed, or has neither tag nor digest.
        ImageNotFoundError: The registry has no such image, or none for these platforms.
        CredentialsError: The registry rejects the credentials of the Docker configuration, or requires some.
        RegistryError: The registry or the network failed, or a digest does not match.
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
                # The size is known only now.
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
        return run_requests(bounded)
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
