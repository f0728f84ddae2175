"""Downloads against a hub that shows every fault: the right bytes in the end, or an error within the bounds."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import hub_simulator as faults
from tests.support.downloads import CALM, FILES, LARGE, PATIENCE, QUICK, REPOSITORY, SMALL, Downloads, remote
from tests.support.hub_simulator import HubSimulator, SilentServer, Status
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import SourceError, SourceUnreachableError, StoreError, WrongContentError
from thoth_models_builder.sources.http import Downloader
from thoth_models_builder.sources.source import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.hub_simulator import Fault
    from thoth_models_builder.sources.source import Sink
    from thoth_models_builder.storage.store import Store

SIZE = {name: len(data) for name, data in FILES.items()}
MIDDLE = 100_000  # bytes of the large file that come before it is cut

PASSING: list[Fault] = [
    *(Status(code) for code in (416, 429, 500, 502, 503, 504)),
    Status(429, {"Retry-After": "0"}),
    Status(429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    faults.StallAfter(0),
    faults.CutAfter(0),
    faults.Truncated(0),
    faults.Silence(),
    faults.Garbage(),
]
INTERRUPTING: list[Fault] = [faults.StallAfter(MIDDLE), faults.CutAfter(MIDDLE), faults.Truncated(MIDDLE)]

LASTING: list[tuple[Fault, str]] = [
    (Status(400), r"HTTP status 200, found 400$"),
    (Status(401), r"HTTP status 200, found 401 \(no such file, or private: set HF_TOKEN\)$"),
    (Status(403), r"HTTP status 200, found 403 \(gated, and the token has no access\)$"),
    (Status(404), r"HTTP status 200, found 404 \(no such file at this commit\)$"),
    (Status(206), r"HTTP status 200, found 206$"),
    (Status(204), r"HTTP status 200, found 204$"),
    (Status(416), r"HTTP status 200, found 416 \(after 2 attempts\)$"),
    (Status(429, {"Retry-After": "3600"}), r"HTTP status 200, found 429 \(after 2 attempts\)$"),
    (Status(500), r"HTTP status 200, found 500 \(after 2 attempts\)$"),
    (Status(503), r"HTTP status 200, found 503 \(after 2 attempts\)$"),
    (faults.StallAfter(0), r"{size} bytes from http://.*/{name}, found ReadTimeout"),
    (faults.CutAfter(0), r"{size} bytes from http://.*/{name}, found ReadError"),
    (faults.Truncated(0), r"{size} bytes from http://.*/{name}, found RemoteProtocolError"),
    (faults.ShortWithMatchingHeader(100), r"{size} bytes, found a Content-Length of 100$"),
    (faults.Longer(10), r"{size} bytes, found a Content-Length of {longer}$"),
    (faults.WrongBytes(), r"sha256 {digest}, found sha256 [0-9a-f]{{64}}$"),
    (faults.SlowDrip(1000), r"at least 4000 bytes in 0.2 s, found \d+ in 0\.\d s \(after 2 attempts\)$"),
    (faults.DripHeaders(0.05), r"{size} bytes within 1.5 s, found 0 bytes after \d\.\d s$"),
    (faults.RedirectLoop(), r"{size} bytes from http://.*/{name}, found TooManyRedirects"),
    (faults.Silence(), r"{size} bytes from http://.*/{name}, found ReadTimeout \(after 2 attempts\)$"),
    (faults.Garbage(), r"{size} bytes from http://.*/{name}, found RemoteProtocolError"),
]


def name_of(value: object) -> str | None:
    return None if isinstance(value, str) and not value.isidentifier() else re.sub(r"\W+", "-", repr(value))


@pytest.mark.parametrize("name", [SMALL, LARGE])
@pytest.mark.parametrize("fault", PASSING, ids=name_of)
def test_what_passes_is_survived(downloads: Downloads, fault: Fault, name: str) -> None:
    downloads.spoil(name, fault, times=1)
    assert len(downloads.survives(name)) == 2


@pytest.mark.hostile
@pytest.mark.parametrize("name", [SMALL, LARGE])
@pytest.mark.parametrize(("fault", "message"), LASTING, ids=name_of)
def test_a_fault_that_lasts_ends_in_time_with_an_error(
    downloads: Downloads, fault: Fault, message: str, name: str
) -> None:
    downloads.spoil(name, fault)
    # The message has the address that was asked for, not the signed one that it redirects to.
    values = {"size": SIZE[name], "longer": SIZE[name] + 10, "name": name, "digest": Digest.of(FILES[name])}
    error = str(downloads.error(name))
    assert re.search(f"^{name}: expected {message.format(**values)}", error), error


@pytest.mark.parametrize("fault", INTERRUPTING, ids=name_of)
def test_a_cut_is_continued_where_it_was(downloads: Downloads, fault: Fault) -> None:
    downloads.spoil(LARGE, fault, times=1)
    assert [request.range for request in downloads.survives(LARGE)] == [None, f"bytes={MIDDLE}-"]
    assert downloads.hub.bytes_sent(LARGE) == SIZE[LARGE]


def test_as_many_cuts_are_survived_as_bring_something_new(downloads: Downloads) -> None:
    downloads.spoil(LARGE, faults.CutAfter(MIDDLE // 2))
    assert len(downloads.survives(LARGE)) == -(-SIZE[LARGE] * 2 // MIDDLE) > QUICK.attempts
    assert downloads.hub.bytes_sent(LARGE) == SIZE[LARGE]


def test_what_an_earlier_run_left_is_continued(downloads: Downloads) -> None:
    downloads.spoil(LARGE, faults.CutAfter(MIDDLE), times=1)
    downloads.spoil(LARGE, Status(404), times=1)
    assert isinstance(downloads.error(LARGE), SourceError)
    assert [request.range for request in downloads.survives(LARGE)][-1] == f"bytes={MIDDLE}-"
    assert downloads.hub.bytes_sent(LARGE) == SIZE[LARGE]


def test_what_an_earlier_run_left_complete_is_not_fetched(downloads: Downloads, store: Store) -> None:
    file = remote(LARGE)
    with store.writer(LARGE, digest=file.sha256, size=file.size) as writer:
        writer.write(FILES[LARGE])
    assert downloads.survives(LARGE) == []


@pytest.mark.parametrize("left", [MIDDLE, SIZE[LARGE], SIZE[LARGE] + 1])
def test_what_an_earlier_run_left_spoilt_is_fetched_anew(downloads: Downloads, store: Store, left: int) -> None:
    store.prepare()
    (store.root / "partial" / Digest.of(FILES[LARGE]).hex).write_bytes(bytes(left))
    assert downloads.survives(LARGE)[-1].range is None


@pytest.mark.hostile
def test_bytes_that_stay_wrong_are_an_error_also_after_a_resumption(downloads: Downloads) -> None:
    downloads.spoil(LARGE, faults.CutAfter(MIDDLE), times=1)
    downloads.spoil(LARGE, faults.WrongBytes())
    assert isinstance(downloads.error(LARGE), WrongContentError)
    assert [request.range for request in downloads.requests_for(LARGE)] == [None, f"bytes={MIDDLE}-", None]


@pytest.mark.parametrize("fault", [faults.IgnoreRange(), faults.WrongRange()], ids=name_of)
def test_a_server_that_cannot_continue_starts_over(downloads: Downloads, fault: Fault) -> None:
    downloads.spoil(LARGE, faults.CutAfter(MIDDLE), times=1)
    downloads.spoil(LARGE, fault)
    assert downloads.survives(LARGE)[1].range == f"bytes={MIDDLE}-"


@pytest.mark.hostile
def test_a_server_that_cannot_continue_and_always_cuts_is_an_error(downloads: Downloads) -> None:
    for _ in range(4):
        downloads.spoil(LARGE, faults.CutAfter(MIDDLE), times=1)
        downloads.spoil(LARGE, faults.WrongRange(), times=1)
    downloads.limits = replace(CALM, attempts=1)
    assert "expected the bytes from 100000 on, found bytes 50000-" in str(downloads.error(LARGE))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.Longer(10), r"expected 307200 bytes, found \d+ or more"),
        (faults.ShortWithMatchingHeader(10), None),
        (Status(416), r"expected HTTP status 200, found 416 \(after 2 attempts\)"),
    ],
    ids=name_of,
)
def test_a_continuation_of_another_length_is_noticed(downloads: Downloads, fault: Fault, message: str | None) -> None:
    downloads.spoil(LARGE, faults.CutAfter(MIDDLE), times=1)
    downloads.spoil(LARGE, fault, times=None if message else 2)
    if message is None:
        ranges = [request.range for request in downloads.survives(LARGE)]
        assert ranges == [None, *(f"bytes={MIDDLE + more}-" for more in (0, 10, 20))]
    else:
        assert re.search(message, str(downloads.error(LARGE)))


def test_a_slow_transfer_that_is_fast_enough_is_left_alone(downloads: Downloads) -> None:
    downloads.limits = replace(QUICK, stall_bytes=10)
    downloads.spoil(SMALL, faults.SlowDrip(20_000))
    assert len(downloads.survives(SMALL)) == 1


@pytest.mark.hostile
def test_a_transfer_that_is_too_slow_as_a_whole_ends_at_its_deadline(downloads: Downloads) -> None:
    downloads.limits = replace(QUICK, stall_bytes=10)
    downloads.spoil(LARGE, faults.SlowDrip(20_000))
    assert re.search(r"expected 307200 bytes within 1.5 s, found \d+ bytes after 1.\d s", str(downloads.error(LARGE)))


@pytest.mark.hostile
def test_the_server_says_how_long_to_wait_up_to_a_bound(downloads: Downloads) -> None:
    downloads.limits = replace(CALM, max_backoff=5.0)
    downloads.spoil(SMALL, Status(429, {"Retry-After": "1"}), times=1)
    first, second = downloads.survives(SMALL)
    assert 1.0 <= second.at - first.at < 5.0


# --- a server that is not there ---


def test_a_refused_connection_is_a_source_out_of_reach(downloads: Downloads) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        failed = downloads.fetch([remote(SMALL), remote(LARGE)], endpoint=endpoint)
    assert set(failed) == {SMALL, LARGE}
    for error in failed.values():
        assert isinstance(error, SourceUnreachableError)
        assert re.search(rf"expected \d+ bytes from {endpoint}/.*, found ConnectError .*after 2 attempts", str(error))


def test_a_name_that_is_not_known_is_a_source_out_of_reach(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = downloads.fetch([remote(SMALL)], endpoint="http://hub.invalid")[SMALL]
    assert isinstance(error, SourceUnreachableError)
    assert "from http://hub.invalid/" in str(error)
    assert "Name or service not known" in str(error)


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1", "nonsense"])
def test_an_endpoint_that_is_no_web_address_is_out_of_reach(downloads: Downloads, endpoint: str) -> None:
    assert isinstance(downloads.fetch([remote(SMALL)], endpoint=endpoint)[SMALL], SourceUnreachableError)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HTTP_PROXY", "ftp://user:secret@proxy"), ("ALL_PROXY", "::"), ("SSL_CERT_FILE", "/nowhere/to/be/found")],
)
def test_an_environment_that_makes_no_sense_is_a_source_out_of_reach(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    error = downloads.fetch([remote(SMALL)])[SMALL]
    assert isinstance(error, SourceUnreachableError)
    assert str(error).startswith("expected proxies and certificates as the environment names them, found ")
    assert "secret" not in str(error)


@pytest.mark.hostile
@pytest.mark.parametrize("count", [1, 40])
def test_a_silent_server_is_waited_for_by_few_files(downloads: Downloads, count: int) -> None:
    files = [replace(remote(SMALL), path=f"{number}.json") for number in range(count)]
    downloads.limits = QUICK
    with SilentServer() as silent:
        failed = downloads.fetch(files, endpoint=silent.endpoint)
        assert silent.accepted <= QUICK.concurrency * QUICK.attempts
    assert downloads.seconds < PATIENCE
    assert len(failed) == count
    assert all(isinstance(error, SourceUnreachableError) for error in failed.values())


def test_silence_about_one_file_is_no_silence_about_all(downloads: Downloads) -> None:
    downloads.limits = replace(QUICK, concurrency=1)
    downloads.spoil(SMALL, faults.Silence())
    failed = downloads.fetch([remote(LARGE), remote(SMALL)])
    assert list(failed) == [SMALL]
    assert not isinstance(failed[SMALL], SourceUnreachableError)


# --- several at once ---


class Busy:
    """Counts how many files are between their first byte and their end."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.open: Counter[str] = Counter()
        self.most = self.most_moving = 0

    @contextlib.contextmanager
    def sink(self, file: RemoteFile) -> Iterator[Sink]:
        with self.store.writer(file.path, digest=file.sha256, size=file.size) as writer:
            self.open[file.path] = 0
            self.most = max(self.most, len(self.open))
            write = writer.write

            def counted(data: bytes | memoryview) -> None:
                self.open[file.path] += len(data)
                self.most_moving = max(self.most_moving, sum(map(bool, self.open.values())))
                write(data)

            writer.write = counted  # type: ignore[method-assign]
            yield writer
            del self.open[file.path]


def test_several_files_come_at_once_but_no_more_than_allowed(hub: HubSimulator, store: Store) -> None:
    files = {f"{number}.json": os.urandom(4000) for number in range(8)}
    hub.add_model(REPOSITORY, files)
    for name in files:
        hub.fault(name, faults.SlowDrip(40_000))
    busy = Busy(store)
    downloads = Downloads(hub, store)
    wanted = [(downloads.url(name), remote(name, data)) for name, data in files.items()]
    assert Downloader(limits=CALM, token=None).run(wanted, busy.sink) == []
    assert busy.most == busy.most_moving == CALM.concurrency
    assert all(store.find(Digest.of(data), len(data)) for data in files.values())


def test_one_failing_file_does_not_keep_the_others(downloads: Downloads) -> None:
    downloads.spoil(SMALL, Status(404))
    assert list(downloads.fetch([remote(SMALL), remote(LARGE)])) == [SMALL]
    assert downloads.is_there(LARGE)


def test_a_full_disk_ends_it_all_and_the_next_run_continues(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, written = os.write, Counter[str]()

    def full(descriptor: int, data: Any) -> int:
        written["bytes"] += len(data)
        if written["bytes"] > MIDDLE * 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left on device"):
            downloads.fetch([remote(SMALL), remote(LARGE)])
    assert downloads.survives(LARGE)[-1].range is not None


# --- files of which less is known ---


def test_a_file_of_unknown_size_and_digest_is_taken_as_it_comes(downloads: Downloads) -> None:
    assert downloads.fetch([RemoteFile(path=SMALL)]) == {}
    assert downloads.is_there(SMALL)


@pytest.mark.parametrize("fault", [faults.CutAfter(5000), faults.Truncated(5000), faults.StallAfter(5000)], ids=name_of)
def test_a_file_of_unknown_size_is_continued_too(downloads: Downloads, fault: Fault) -> None:
    downloads.spoil(SMALL, fault, times=1)
    assert downloads.fetch([RemoteFile(path=SMALL)]) == {}
    assert downloads.is_there(SMALL)
    assert downloads.requests_for(SMALL)[-1].range == "bytes=5000-"


@pytest.mark.hostile
def test_names_of_files_are_quoted_in_addresses(hub: HubSimulator, store: Store) -> None:
    name, data = "a dir/größe #1?.json", b"{}"
    hub.add_model(REPOSITORY, {name: data})
    assert Downloads(hub, store).fetch([remote(name, data)]) == {}


def test_redirects_within_the_hub_are_followed(store: Store) -> None:
    with HubSimulator(resolve_cache=True) as hub:
        hub.add_model(REPOSITORY, FILES)
        requests = Downloads(hub, store).survives(SMALL)
    assert [request.path.split("/")[1] for request in requests] == [REPOSITORY.split("/")[0], "api"]


def test_requests_ask_for_plain_bytes(downloads: Downloads) -> None:
    downloads.survives(LARGE)
    assert {request.headers["accept-encoding"] for request in downloads.hub.requests} == {"identity"}
    assert all(first.at <= second.at for first, second in pairwise(downloads.hub.requests))


# --- answers that something else sent ---

PAGE = b"<!DOCTYPE html><title>Log in to this network</title>"
INSTEAD = "an HTML page, as a captive portal or a proxy sends, from http://127.0.0.1"
TEXT = {"Content-Type": "text/plain"}
HTML = {"Content-Type": "text/html"}


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Status(200, TEXT, PAGE), INSTEAD),
        (
            Status(
                200, {"Content-Type": "text/html", "Transfer-Encoding": "chunked"}, b"c\r\n<html></html\r\n0\r\n\r\n"
            ),
            INSTEAD,
        ),
        (Status(200, TEXT, PAGE + bytes(SIZE[SMALL] - len(PAGE))), INSTEAD),
        (
            Status(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
            "an answer compressed as 'gzip', which was not asked for",
        ),
        (Status(401, HTML, PAGE), f"401 (no such file, or private: set HF_TOKEN) and {INSTEAD}"),
        (Status(403, HTML, PAGE), f"403 (gated, and the token has no access) and {INSTEAD}"),
        (Status(404, HTML, PAGE), f"404 (no such file at this commit) and {INSTEAD}"),
        (Status(511, HTML, PAGE), f"511 and {INSTEAD}"),
    ],
)
def test_a_page_or_a_compressed_answer_is_called_that(downloads: Downloads, answer: Status, found: str) -> None:
    downloads.spoil(SMALL, answer)
    assert f", found {found}" in str(downloads.error(SMALL))
    assert len(downloads.requests_for(SMALL)) == (CALM.attempts if answer.code == 511 else 1)


@pytest.mark.hostile
def test_a_page_does_not_become_a_file_of_unknown_digest(downloads: Downloads) -> None:
    downloads.spoil(SMALL, Status(200, TEXT, PAGE))
    failed = downloads.fetch([RemoteFile(path=SMALL)])
    assert str(failed[SMALL]).startswith(f"{SMALL}: expected the file, found {INSTEAD}")


def test_an_empty_file_is_no_page(downloads: Downloads) -> None:
    """Of a file without bytes, the header is all that a server states about its form."""
    downloads.hub.add_model(REPOSITORY, {"empty.txt": b""})
    downloads.hub.fault("empty.txt", Status(200, HTML, b""))
    assert downloads.fetch([RemoteFile(path="empty.txt")]) == {}


def test_the_bytes_of_an_earlier_attempt_outlive_a_page(downloads: Downloads) -> None:
    downloads.spoil(LARGE, faults.CutAfter(MIDDLE), times=1)
    downloads.hub.fault(LARGE, Status(200, TEXT, PAGE), times=1)
    assert INSTEAD in str(downloads.error(LARGE))
    downloads.hub.clear_faults()
    assert downloads.survives(LARGE)[-1].range == f"bytes={MIDDLE}-"


@pytest.mark.parametrize("name", ["help.html", "page"])
def test_a_page_that_is_the_file_is_a_file(downloads: Downloads, name: str) -> None:
    downloads.hub.add_model(REPOSITORY, {name: PAGE})
    downloads.hub.fault(name, Status(200, {"Content-Type": "text/html", "Content-Encoding": "identity"}, PAGE))
    known = RemoteFile(path=name, size=len(PAGE), sha256=Digest.of(PAGE))
    wanted = [known] if name == "page" else [known, RemoteFile(path=name)]
    for file in wanted:
        assert downloads.fetch([file]) == {}


# --- the beginning of a file ---


def beginning(downloads: Downloads, name: str, size: int) -> bytes:
    return Downloader(limits=CALM, token=None).beginning(downloads.url(name), remote(name), size)


def test_the_beginning_is_asked_for_as_a_range(downloads: Downloads) -> None:
    assert beginning(downloads, LARGE, 1000) == FILES[LARGE][:1000]
    assert downloads.hub.bytes_sent(LARGE) == 1000
    assert beginning(downloads, SMALL, 10**6) == FILES[SMALL]


@pytest.mark.parametrize("fault", [Status(503), faults.CutAfter(100), faults.Truncated(100)], ids=name_of)
def test_the_beginning_survives_what_passes(downloads: Downloads, fault: Fault) -> None:
    downloads.spoil(LARGE, fault, times=1)
    assert beginning(downloads, LARGE, 1000) == FILES[LARGE][:1000]


@pytest.mark.hostile
def test_a_server_without_ranges_is_cut_off(downloads: Downloads) -> None:
    # More than the buffers between client and server hold.
    whole = {"large": bytes(range(256)) * 2**17}
    downloads.hub.add_model(REPOSITORY, whole)
    downloads.spoil("large", faults.IgnoreRange())
    wanted = RemoteFile(path="large", size=len(whole["large"]))
    found = Downloader(limits=CALM, token=None).beginning(downloads.url("large"), wanted, 1000)
    assert found == whole["large"][:1000]
    assert downloads.hub.bytes_sent("large") < len(whole["large"])


@pytest.mark.parametrize(
    ("fault", "says"),
    [(Status(404), "found 404"), (faults.WrongRange(), "found 206"), (faults.Garbage(), "found RemoteProtocolError")],
    ids=name_of,
)
def test_a_beginning_that_is_not_delivered_is_an_error(downloads: Downloads, fault: Fault, says: str) -> None:
    downloads.spoil(LARGE, fault)
    with pytest.raises(SourceError, match=says):
        beginning(downloads, LARGE, 1000)
