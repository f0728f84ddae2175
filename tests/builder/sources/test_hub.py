"""A repository on the simulated hub: what it tells, what is fetched, and how each trouble ends."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import hub_simulator as faults
from tests.support.downloads import (
    CALM,
    FILES,
    LARGE,
    PATIENCE,
    QUICK,
    REPOSITORY,
    SMALL,
    TOKEN,
    limits_for,
    remote,
)
from tests.support.hub_simulator import DEFAULT_COMMIT, HubSimulator, SilentServer, Status
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import SourceError, SourceUnreachableError
from thoth_models_builder.sources.hub import HubRepository
from thoth_models_builder.sources.limits import Limits
from thoth_models_builder.sources.source import RemoteFile

if TYPE_CHECKING:
    from tests.support.hub_simulator import Fault
    from thoth_models_builder.storage.store import Store

NEXT_COMMIT = "f" * 40
LABEL = f"hub:{REPOSITORY}@main"


def repository(revision: str = "main", limits: Limits = CALM, **options: Any) -> HubRepository:
    return HubRepository(REPOSITORY, revision, limits=limits, **options)


def fetch(source: HubRepository, store: Store, *files: RemoteFile) -> dict[str, SourceError]:
    failures = source.fetch(files, lambda file: store.writer(file.path, digest=file.sha256, size=file.size))
    return {failure.file.path: failure.error for failure in failures}


@pytest.fixture
def model(hub: HubSimulator) -> HubSimulator:
    hub.add_model(REPOSITORY, FILES)
    return hub


# --- what it tells ---


def test_the_listing_has_commit_licence_and_files(model: HubSimulator) -> None:
    listing = repository().list_files()
    assert (listing.revision, listing.license) == (DEFAULT_COMMIT, "apache-2.0")
    small, large = listing.files
    # The sha256 is that of large-file storage; what is in git itself has its blob id.
    assert (small.path, small.size, small.sha256) == (SMALL, len(FILES[SMALL]), None)
    assert small.blob_id is not None
    assert re.fullmatch("[0-9a-f]{40}", small.blob_id)
    assert large == RemoteFile(path=LARGE, size=len(FILES[LARGE]), sha256=Digest.of(FILES[LARGE]))
    (request,) = model.requests
    assert request.path == f"/api/models/{REPOSITORY}/revision/main"


def test_a_model_without_a_licence_has_none(hub: HubSimulator) -> None:
    hub.add_model(REPOSITORY, FILES, license=None)
    assert repository().list_files().license is None


def test_other_has_the_name_and_the_link_beside_it(hub: HubSimulator) -> None:
    hub.add_model(REPOSITORY, FILES, license="other", card={"license_name": "acme", "license_link": "LICENSE.md"})
    listing = repository().list_files()
    assert (listing.license, listing.license_link) == ("other (acme)", "LICENSE.md")


def test_a_branch_is_resolved_once_and_then_stays(model: HubSimulator, store: Store) -> None:
    source = repository()
    listing = source.list_files()
    model.add_model(REPOSITORY, {SMALL: b"moved on"}, revision=NEXT_COMMIT)
    assert fetch(source, store, *listing.files) == {}
    assert store.find(Digest.of(FILES[SMALL]), len(FILES[SMALL])) is not None
    resolved = [request.path for request in model.requests if "/resolve/" in request.path]
    assert resolved
    assert all(f"/resolve/{DEFAULT_COMMIT}/" in path for path in resolved)
    assert repository().list_files().revision == NEXT_COMMIT


def test_bytes_at_a_commit_need_no_metadata(model: HubSimulator, store: Store) -> None:
    assert fetch(repository(DEFAULT_COMMIT), store, remote(SMALL), remote(LARGE)) == {}
    assert not [request for request in model.requests if request.path.startswith("/api")]


def test_a_branch_with_a_slash_is_quoted(hub: HubSimulator, store: Store) -> None:
    hub.add_model(REPOSITORY, FILES, branches={"refs/pr/1": DEFAULT_COMMIT})
    assert repository("refs/pr/1").list_files().revision == DEFAULT_COMMIT
    assert fetch(repository("refs/pr/1"), store, remote(SMALL)) == {}


def answer(body: bytes) -> Status:
    return Status(200, {"Content-Type": "application/json"}, body)


def sibling(values: bytes) -> bytes:
    return b'{"id": "x/y", "siblings": [{"rfilename": "a", ' + values + b"}]}"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"id": "x/y", "siblings": []}', f"expected the Hub to state the commit of {LABEL}, found None"),
        (b'{"id": "x/y", "sha": "main"}', f"expected the Hub to state the commit of {LABEL}, found 'main'"),
        (b'{"id": "x/y", "siblings": [{"rfilename": 1}]}', "expected the Hub to state the paths of files, found 1"),
        (sibling(b'"size": -1'), "a: expected the Hub to state its size in bytes, found -1"),
        (sibling(b'"size": "1"'), "a: expected the Hub to state its size in bytes, found '1'"),
        (sibling(b'"size": true'), "a: expected the Hub to state its size in bytes, found True"),
        (sibling(b'"blobId": "x"'), "a: expected a git blob id of 40 hexadecimal digits, found 'x'"),
        (
            b'{"id": "x/y", "sha": "%s", "siblings": [{"rfilename": "model.safetensors", "size": 1, '
            b'"lfs": {"sha256": "xyz", "size": 1, "pointerSize": 1}}]}' % DEFAULT_COMMIT.encode(),
            "model.safetensors: expected a sha256 of 64 lower-case hexadecimal digits, found 'xyz'",
        ),
        (
            b"<html>Please log in",
            "expected http://127.0.0.1:[0-9]+ to describe .*, found an HTML page, as a ",
        ),
        (b"{", "expected http://127.0.0.1:[0-9]+ to describe .*, found an answer of another form .JSONDecodeError: "),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(model: HubSimulator, body: bytes, message: str) -> None:
    model.fault("api", answer(body))
    with pytest.raises(SourceError, match=f"^{message}"):
        repository().list_files()


# --- mirrors that state no sizes ---


@pytest.mark.parametrize(
    ("sizes_by", "fault"),
    [
        ("paths-info", None),
        ("headers", None),
        ("paths-info", Status(503)),
        ("paths-info", Status(200, {"Content-Type": "text/html"}, b"<html>")),
        ("paths-info", Status(200, {"Content-Type": "application/json"}, b'[{"type": "file"}]')),
    ],
    ids=str,
)
def test_a_listing_without_sizes_is_completed(
    model: HubSimulator, monkeypatch: pytest.MonkeyPatch, sizes_by: Any, fault: Fault | None
) -> None:
    expected = repository().list_files()
    with HubSimulator(sizes_by=sizes_by) as mirror:
        mirror.add_model(REPOSITORY, FILES)
        if fault is not None:
            mirror.fault("paths-info", fault, methods=("POST",))
        monkeypatch.setenv("HF_ENDPOINT", mirror.endpoint)
        assert repository().list_files() == expected
        requests = [request for request in mirror.requests if not request.path.startswith("/lfs/")]
    asked = [(request.method, request.path.rpartition("/")[2]) for request in requests]
    heads = [("HEAD", SMALL), ("HEAD", LARGE)] if (sizes_by, fault) != ("paths-info", None) else []
    assert asked == [("GET", "main"), ("POST", DEFAULT_COMMIT), *heads]
    assert {request.headers["accept-encoding"] for request in requests} == {"identity"}
    assert None not in [file.size for file in expected.files]


def test_a_size_that_no_answer_states_is_named_when_it_matters(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    with HubSimulator(sizes_by="nothing", storage_host="localhost") as mirror:
        mirror.add_model(REPOSITORY, FILES)
        monkeypatch.setenv("HF_ENDPOINT", mirror.endpoint)
        source = repository()
        small, large = source.list_files().files
        assert (small.size, large) == (len(FILES[SMALL]), RemoteFile(path=LARGE))
        monkeypatch.setattr("thoth_models_builder.storage.store._MAX_UNKNOWN_SIZE", 1000)
        message = f"{LARGE}: expected at most 1000 bytes, as the size is not stated, found "
        assert str(fetch(source, store, large)[LARGE]).startswith(message)


@pytest.mark.hostile
def test_a_mirror_that_goes_silent_over_its_sizes_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    with HubSimulator(sizes_by="headers") as mirror:
        mirror.add_model(REPOSITORY, FILES)
        mirror.fault(SMALL, faults.Silence(), methods=("HEAD",))
        monkeypatch.setenv("HF_ENDPOINT", mirror.endpoint)
        with pytest.raises(SourceUnreachableError, match=r"^expected an answer from .*, found ReadTimeout"):
            repository(limits=QUICK).list_files()


# --- how trouble ends ---

HTML = {"Content-Type": "text/html"}
PAGE = b"<!DOCTYPE html><title>Not for you</title>"
INSTEAD = "an HTML page, as a captive portal or a proxy sends, from http://127.0.0.1"

METADATA_TROUBLE: list[tuple[Fault, str, type[SourceError]]] = [
    (Status(401), r"HTTP status 401 \(no such repository or revision, or it is private: set HF_TOKEN\)$", SourceError),
    (Status(403), r"HTTP status 403 \(the repository is gated, and the token has no access", SourceError),
    (Status(404), r"HTTP status 404 \(no such repository or revision\)$", SourceError),
    (Status(401, HTML, PAGE), rf"HTTP status 401 \(.*: set HF_TOKEN\) and {INSTEAD}", SourceError),
    (Status(403, HTML, PAGE), rf"HTTP status 403 \(the repository is gated, .*\) and {INSTEAD}", SourceError),
    (Status(404, HTML, PAGE), rf"HTTP status 404 \(no such repository or revision\) and {INSTEAD}", SourceError),
    (Status(511, HTML, PAGE), f"HTTP status 511 and {INSTEAD}", SourceUnreachableError),
    (Status(400), r"HTTP status 400 \(", SourceError),
    (Status(429, {"Retry-After": "3600"}), r"HTTP status 429 \(too many requests", SourceUnreachableError),
    (Status(500), r"HTTP status 500 \(the Hub is in trouble", SourceUnreachableError),
    (Status(503), r"HTTP status 503 \(the Hub is in trouble", SourceUnreachableError),
    (faults.StallAfter(10), "ReadTimeout", SourceUnreachableError),
    (faults.CutAfter(10), "ReadError", SourceUnreachableError),
    (faults.Truncated(10), "RemoteProtocolError", SourceUnreachableError),
    (faults.Silence(), "ReadTimeout", SourceUnreachableError),
    (faults.Garbage(), "RemoteProtocolError", SourceUnreachableError),
    (faults.RedirectLoop(), "TooManyRedirects", SourceUnreachableError),
    (faults.SlowDrip(20), "the server still answering", SourceUnreachableError),
    (faults.DripHeaders(0.1), "the server still answering", SourceUnreachableError),
]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("fault", "found", "kind"), METADATA_TROUBLE, ids=lambda value: re.sub(r"\W+", "-", repr(value))
)
def test_metadata_trouble_ends_in_time_with_an_error(
    model: HubSimulator, fault: Fault, found: str, kind: type[SourceError]
) -> None:
    model.fault("api", fault)
    started = time.monotonic()
    with pytest.raises(SourceError, match=found) as caught:
        repository(limits=limits_for(fault)).list_files()
    assert time.monotonic() - started < PATIENCE
    assert type(caught.value) is kind
    expected = f"expected {re.escape(model.endpoint)} to describe {LABEL}, found HTTP"
    others = f"expected (an answer from {re.escape(model.endpoint)}|the metadata of {REPOSITORY} within 1.5 s), found "
    assert re.match(f"{expected}|{others}", str(caught.value))


@pytest.mark.parametrize("fault", [Status(429), Status(503), faults.Silence(), faults.Truncated(5)])
def test_metadata_trouble_that_passes_is_survived(model: HubSimulator, fault: Fault) -> None:
    model.fault("api", fault, times=1)
    assert repository(limits=limits_for(fault)).list_files().revision == DEFAULT_COMMIT


def test_an_endpoint_that_does_not_answer_is_asked_by_one_repository_of_a_run(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    unreachable: dict[str, str] = {}
    with SilentServer() as silent:
        monkeypatch.setenv("HF_ENDPOINT", silent.endpoint)
        with pytest.raises(SourceUnreachableError):
            repository(limits=QUICK, unreachable=unreachable).list_files()
        asked = silent.accepted
        assert asked == QUICK.attempts
        other = repository(limits=QUICK, unreachable=unreachable)
        with pytest.raises(SourceUnreachableError, match=r"^not asked again, because .*: expected an answer"):
            other.list_files()
        assert isinstance(fetch(other, store, remote(SMALL))[SMALL], SourceUnreachableError)
        assert silent.accepted == asked


def test_an_endpoint_that_delivers_nothing_is_remembered_too(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    unreachable: dict[str, str] = {}
    with SilentServer() as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"{silent.endpoint}/")
        files = [replace(remote(SMALL), path=f"{number}.json") for number in range(20)]
        assert len(fetch(repository(DEFAULT_COMMIT, QUICK, unreachable=unreachable), store, *files)) == 20
        assert list(unreachable) == [silent.endpoint]
        asked = silent.accepted
        fetch(repository(NEXT_COMMIT, QUICK, unreachable=unreachable), store, *files)
        assert silent.accepted == asked


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "true", "Yes", "ON"])
def test_the_offline_switch_is_an_answer_at_once(
    model: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SourceUnreachableError, match="HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"):
        repository().list_files()
    assert isinstance(fetch(repository(), store, remote(SMALL))[SMALL], SourceUnreachableError)
    assert model.accepted == 0


# --- who may ---


def test_a_private_repository_needs_the_token(hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    hub.add_model(REPOSITORY, FILES, token=TOKEN)
    with pytest.raises(SourceError, match="401"):
        repository().list_files()
    failed = fetch(repository(DEFAULT_COMMIT), store, remote(SMALL))
    assert "found 401 (no such file, or private: set HF_TOKEN)" in str(failed[SMALL])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    source = repository()
    assert fetch(source, store, *source.list_files().files) == {}


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("hf_another", 403)])
def test_a_gated_repository_says_so(
    hub: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store, token: str | None, status: int
) -> None:
    hub.add_model(REPOSITORY, FILES, gated=True, token=TOKEN)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SourceError, match=f"found HTTP status {status}"):
        repository().list_files()
    assert f"found {status} (" in str(fetch(repository(DEFAULT_COMMIT), store, remote(SMALL))[SMALL])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(repository(DEFAULT_COMMIT), store, remote(SMALL)) == {}


def test_no_token_is_sent_where_the_user_says_so(
    model: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    source = repository()
    assert fetch(source, store, *source.list_files().files) == {}
    assert not [request for request in model.requests if "authorization" in request.headers]


@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_token_that_cannot_be_had_is_an_error(
    model: HubSimulator, monkeypatch: pytest.MonkeyPatch, store: Store, trouble: str
) -> None:
    # It may come from a server: an exchange of tokens in a CI, or the renewal of one that is about to expire.
    import huggingface_hub

    def token() -> str:
        if trouble == "hangs":
            time.sleep(2)
        raise OSError(f"no exchange at https://user:{TOKEN}@hub")

    monkeypatch.setattr(huggingface_hub, "get_token", token)
    started = time.monotonic()
    error = fetch(repository(DEFAULT_COMMIT, QUICK), store, remote(SMALL))[SMALL]
    with pytest.raises(SourceError, match=f"expected a token for {LABEL}"):
        repository(limits=QUICK).list_files()
    assert time.monotonic() - started < PATIENCE
    assert str(error).startswith(f"expected a token for hub:{REPOSITORY}@{DEFAULT_COMMIT}")
    assert TOKEN not in str(error)
    assert model.accepted == 0


@pytest.mark.parametrize(
    "endpoint", ["http://[bad", "hub.example", "ftp://hub.example", "https://hub.example:99999", "https://"]
)
def test_an_endpoint_that_is_no_address(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(SourceUnreachableError, match="expected HF_ENDPOINT to be an address"):
        HubRepository("acme/tiny", "main", limits=Limits()).list_files()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ALL_PROXY", f"nonsense://user:{TOKEN}@proxy.test", "expected ALL_PROXY to be the address of a proxy"),
        ("SSL_CERT_FILE", "/nowhere", "expected proxies and certificates as the environment names them"),
    ],
)
def test_an_environment_that_makes_no_sense_is_a_source_out_of_reach(
    model: HubSimulator, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    from huggingface_hub.utils._http import close_session

    monkeypatch.setenv(name, value)
    close_session()  # the client that other tests have used
    with pytest.raises(SourceUnreachableError, match=f"^{expected}") as caught:
        repository(limits=QUICK).list_files()
    assert TOKEN not in str(caught.value)
    assert model.requests == []
