"""Downloads from the simulated hub into a real store, with bounds short enough for a test."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.hub_simulator import DEFAULT_COMMIT, DripHeaders, Silence, SlowDrip, StallAfter
from thoth_models.bundle.digest import Digest
from thoth_models_builder.sources.http import Downloader
from thoth_models_builder.sources.limits import Limits
from thoth_models_builder.sources.source import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.hub_simulator import Fault, HubSimulator, RecordedRequest
    from thoth_models_builder.errors import SourceError
    from thoth_models_builder.storage.store import Store

REPOSITORY = "some-organisation/some-model"
TOKEN = "hf_baitBaitBaitBait"
SMALL = "config.json"
LARGE = "model.safetensors"
"""Kept in large-file storage: the hub redirects to a signed address."""

FILES = {SMALL: bytes(range(256)) * 40, LARGE: bytes(range(255, -1, -1)) * 1200}

QUICK = Limits(
    connect=1.0,
    read=0.3,
    stall_window=0.2,
    stall_bytes=4000,
    attempts=2,
    backoff=0.01,
    max_backoff=0.05,
    file_deadline=1.5,
    file_rate=10**12,
    wheel_deadline=20.0,
    concurrency=3,
)
"""For what has to be waited for in vain: no wait is longer than a second and a half."""

CALM = replace(QUICK, connect=5.0, read=5.0, stall_window=5.0, file_deadline=20.0)
"""For all else, so that a busy machine is not taken for a fault."""

_WAITED_FOR = (StallAfter, Silence, SlowDrip, DripHeaders)


def limits_for(fault: Fault) -> Limits:
    return QUICK if isinstance(fault, _WAITED_FOR) else CALM


PATIENCE = 10.0
"""Seconds in which anything under either must have ended, on a busy machine too."""


def remote(name: str, data: bytes | None = None) -> RemoteFile:
    content = FILES[name] if data is None else data
    return RemoteFile(path=name, size=len(content), sha256=Digest.of(content))


@dataclass
class Downloads:
    """The bytes of one repository, from a hub into a store."""

    hub: HubSimulator
    store: Store
    limits: Limits = CALM
    token: str | None = None
    seconds: float = field(default=0.0, init=False)

    def url(self, name: str, endpoint: str | None = None) -> str:
        return f"{endpoint or self.hub.endpoint}/{REPOSITORY}/resolve/{DEFAULT_COMMIT}/{quote(name)}"

    def fetch(self, files: Iterable[RemoteFile], *, endpoint: str | None = None) -> dict[str, SourceError]:
        """Download, and return what failed, by path."""
        started = time.monotonic()
        downloader = Downloader(limits=self.limits, token=self.token)
        wanted = [
            (self.url(file.path).replace(self.hub.endpoint, endpoint or self.hub.endpoint), file) for file in files
        ]
        failures = downloader.run(wanted, lambda file: self.store.writer(file.path, digest=file.sha256, size=file.size))
        self.seconds = time.monotonic() - started
        return {failure.file.path: failure.error for failure in failures}

    def spoil(self, name: str, fault: Fault, *, times: int | None = None) -> None:
        """Let the hub show a fault in the content of a file, with bounds on waits that suit it."""
        if self.limits == CALM:
            self.limits = limits_for(fault)
        self.hub.fault(name, fault, times=times)

    def error(self, name: str) -> SourceError:
        """Download one file in vain, in time."""
        failed = self.fetch([remote(name)])
        assert list(failed) == [name]
        assert self.seconds < PATIENCE
        assert not self.is_there(name)
        assert str(failed[name]).startswith(f"{name}: expected ")
        return failed[name]

    def survives(self, name: str) -> list[RecordedRequest]:
        """Download one file, with the right bytes in the end, and return the requests that carried them."""
        assert self.fetch([remote(name)]) == {}
        assert self.seconds < PATIENCE
        assert self.is_there(name)
        return self.requests_for(name)

    def is_there(self, name: str) -> bool:
        return self.store.find(Digest.of(FILES[name]), len(FILES[name])) is not None

    def requests_for(self, name: str) -> list[RecordedRequest]:
        """Return the requests that ask for the content, not for the address that it is at."""
        is_content = "/lfs/" if name == LARGE else f"/{name}"
        return [request for request in self.hub.requests if is_content in request.path]
