import hashlib
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, constants, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils._http import close_session

from tests.support import hub_simulator as faults
from tests.support.hub_simulator import DEFAULT_COMMIT, Fault, HubSimulator, SilentServer, Status
from tests.support.waiting import until

REPO = "some-organisation/some-model"
CONFIG_NAME, CONFIG = "config.json", b'{"model_type": "bert"}\n'
WEIGHTS_NAME, WEIGHTS = "onnx/model.safetensors", bytes(range(256)) * 40
WEIGHTS_DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {CONFIG_NAME: CONFIG, WEIGHTS_NAME: WEIGHTS}
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP needs none, and to load them takes long
EARLY_ENDS: list[tuple[Fault, type[Exception]]] = [  # the first three in the body
    (faults.StallAfter(7), httpx2.ReadTimeout),
    (faults.CutAfter(7), httpx2.ReadError),
    (faults.Truncated(7), httpx2.RemoteProtocolError),
    (faults.Silence(), httpx2.ReadTimeout),
    (faults.Garbage(), httpx2.RemoteProtocolError),
]


@pytest.fixture(autouse=True)
def _hub_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Without the first, the client asks the real hub for a list of coding agents before its first request.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    close_session()
    yield
    close_session()


@pytest.fixture
def hub() -> Iterator[HubSimulator]:
    with HubSimulator() as simulator:
        simulator.add_model(REPO, FILES)
        yield simulator


def model_info(hub: HubSimulator, repo: str = REPO, *, revision: str | None = "main", **options: Any) -> ModelInfo:
    options = {"files_metadata": True, "timeout": 5, **options}
    return HfApi(endpoint=hub.endpoint).model_info(repo, revision=revision, **options)


def address(hub: HubSimulator, name: str = CONFIG_NAME) -> str:
    return f"{hub.endpoint}/{REPO}/resolve/main/{name}"


def http(timeout: float = 5, *, follow: bool = True) -> httpx2.Client:
    return httpx2.Client(trust_env=False, timeout=timeout, follow_redirects=follow, verify=NO_CERTIFICATES)


def get(hub: HubSimulator, name: str = CONFIG_NAME, *, timeout: float = 5, **headers: str) -> httpx2.Response:
    with http(timeout) as client:
        return client.get(address(hub, name), headers=headers)


def download(hub: HubSimulator, name: str, body: bytearray, *, timeout: float = 5) -> None:
    headers = {"Range": f"bytes={len(body)}-"} if body else {}
    with http(timeout) as client, client.stream("GET", address(hub, name), headers=headers) as response:
        assert int(response.headers["Content-Length"]) == len(FILES[name]) - len(body)
        for piece in response.iter_raw():
            body += piece


def connect(endpoint: str, name: str | None = None) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])))
    if name is not None:
        client.sendall(f"GET /{REPO}/resolve/main/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def git_blob_id(content: bytes) -> str:
    return subprocess.check_output(["git", "hash-object", "--stdin"], input=content).decode().strip()


def stops_at_once(server: HubSimulator | SilentServer) -> bool:
    started = time.monotonic()
    server.__exit__(None, None, None)
    return time.monotonic() - started < 0.8


def test_model_info_describes_the_files_as_the_hub_does(hub: HubSimulator) -> None:
    info = model_info(hub)
    assert (info.id, info.sha, info.private, info.gated) == (REPO, DEFAULT_COMMIT, False, False)
    assert getattr(info.card_data, "license", None) == "apache-2.0"
    assert "license:apache-2.0" in (info.tags or [])
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{WEIGHTS_DIGEST}\nsize {len(WEIGHTS)}\n"
    config, weights = info.siblings or []
    assert (config.rfilename, config.size, config.lfs) == (CONFIG_NAME, len(CONFIG), None)
    assert (weights.rfilename, weights.size) == (WEIGHTS_NAME, len(WEIGHTS))
    assert (config.blob_id, weights.blob_id) == (git_blob_id(CONFIG), git_blob_id(pointer.encode()))
    assert weights.lfs == {"size": len(WEIGHTS), "sha256": WEIGHTS_DIGEST, "pointer_size": len(pointer)}
    (request,) = hub.requests
    assert (request.method, request.path, request.query) == ("GET", f"/api/models/{REPO}/revision/main", "blobs=true")
    assert hub.accepted == 1 <= hub.bytes_sent("api")


def test_model_info_without_sizes_or_license_and_with_chosen_lfs_files(hub: HubSimulator) -> None:
    files = model_info(hub, revision=None, files_metadata=False).siblings or []
    assert [(file.rfilename, file.size, file.lfs) for file in files] == [(name, None, None) for name in FILES]
    hub.add_model("bert", FILES, license=None, lfs=lambda name: name == CONFIG_NAME)
    info = model_info(hub, "bert")
    assert info.card_data is None
    assert [file.lfs is not None for file in info.siblings or []] == [True, False]


def test_revisions_are_commits_branches_and_tags_and_branches_move(hub: HubSimulator) -> None:
    later = hub.add_model(REPO, {}, revision="f" * 40, branches={"main": "f" * 40, "refs/pr/1": DEFAULT_COMMIT})
    shas = [model_info(hub, revision=revision).sha for revision in (None, "main", "refs/pr/1", DEFAULT_COMMIT, later)]
    assert shas == [later, later, DEFAULT_COMMIT, DEFAULT_COMMIT, later]


def test_what_is_missing_raises_the_errors_of_the_client(hub: HubSimulator) -> None:
    with pytest.raises(errors.RepositoryNotFoundError):
        model_info(hub, "nobody/nothing")
    with pytest.raises(errors.RevisionNotFoundError):
        model_info(hub, revision="e" * 40)
    with pytest.raises(errors.RemoteEntryNotFoundError) as caught:
        get_hf_file_metadata(address(hub, "absent.json"))
    assert caught.value.response.headers["X-Repo-Commit"] == DEFAULT_COMMIT
    with http() as client:
        assert client.get(f"{hub.endpoint}/elsewhere").status_code == 404
        assert client.post(address(hub)).status_code == 405


@pytest.mark.parametrize("sent", [False, "hf_wrong"])
def test_a_repository_with_a_token_refuses_others(hub: HubSimulator, sent: str | bool) -> None:  # noqa: FBT001
    hub.add_model(REPO, FILES, token="hf_right")
    with pytest.raises(errors.HfHubHTTPError) as caught:
        model_info(hub, token=sent)
    assert caught.value.response.status_code == get(hub).status_code == 401
    assert model_info(hub, token="hf_right").private is True
    assert get(hub, Authorization="Bearer hf_right").content == CONFIG


def test_a_gated_repository_shows_itself_but_not_its_files(hub: HubSimulator) -> None:
    hub.add_model(REPO, FILES, gated=True, token="hf_admitted")
    assert model_info(hub, revision=None, token=False).gated == "manual"
    for token, status in ((False, 401), ("hf_other", 403)):
        with pytest.raises(errors.GatedRepoError) as caught:
            get_hf_file_metadata(address(hub), token=token)
        assert caught.value.response.status_code == status
    assert get_hf_file_metadata(address(hub), token="hf_admitted").size == len(CONFIG)


@pytest.mark.parametrize("layout", [{}, {"storage_host": "127.0.0.1"}, {"resolve_cache": True}])
def test_the_client_finds_the_metadata_and_downloads(layout: dict[str, Any], tmp_path: Path) -> None:
    with HubSimulator(**layout) as hub:
        hub.add_model(REPO, FILES)
        for name, etag in {CONFIG_NAME: git_blob_id(CONFIG), WEIGHTS_NAME: WEIGHTS_DIGEST}.items():
            metadata = get_hf_file_metadata(hf_hub_url(REPO, name, revision="main", endpoint=hub.endpoint))
            assert (metadata.etag, metadata.size, metadata.commit_hash) == (etag, len(FILES[name]), DEFAULT_COMMIT)
            path = Path(hf_hub_download(REPO, name, cache_dir=tmp_path, endpoint=hub.endpoint))
            assert path.read_bytes() == FILES[name]
            assert hub.bytes_sent(name) == len(FILES[name])


def test_redirects_to_a_signed_address_and_to_a_relative_one() -> None:
    with HubSimulator(resolve_cache=True) as hub, http(follow=False) as client:
        hub.add_model(REPO, FILES)
        first, second = (client.head(address(hub, WEIGHTS_NAME)) for _ in range(2))
        assert (first.status_code, first.headers["X-Repo-Commit"]) == (302, DEFAULT_COMMIT)
        linked = first.headers["X-Linked-Etag"], first.headers["X-Linked-Size"]
        assert linked == (f'"{WEIGHTS_DIGEST}"', str(len(WEIGHTS)))
        assert first.headers["Location"] != second.headers["Location"]
        assert client.get(first.headers["Location"]).content == WEIGHTS
        assert client.get(first.headers["Location"].partition("?")[0]).status_code == 403
        answer = client.get(address(hub))
    assert answer.status_code == 307
    assert answer.headers["Location"].startswith(f"/api/resolve-cache/models/{REPO}/{DEFAULT_COMMIT}/config.json?")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_storage_on_another_origin_shows_whether_a_token_leaks(host: str) -> None:
    with HubSimulator(storage_host=host) as hub, http() as client:
        hub.add_model(REPO, FILES, token="hf_secret")
        assert get(hub, WEIGHTS_NAME, Authorization="Bearer hf_secret").content == WEIGHTS
        asked, stored = hub.requests
        assert (asked.origin, asked.headers["authorization"]) == ("hub", "Bearer hf_secret")
        assert (stored.origin, stored.headers["host"]) == ("storage", hub.storage_endpoint.removeprefix("http://"))
        assert "authorization" not in stored.headers
        assert client.get(f"{hub.storage_endpoint}/api/models/{REPO}").status_code == 404


def test_large_files_are_lfs_and_are_never_read_whole(hub: HubSimulator, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(200_000_000)
    tracemalloc.start()
    hub.add_model(REPO, {"tokenizer.json": tmp_path / "large"})
    digest = hashlib.sha256()
    with http() as client, client.stream("GET", address(hub, "tokenizer.json")) as response:
        for piece in response.iter_raw():
            digest.update(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (file,) = model_info(hub).siblings or []
    assert (file.size, file.lfs and file.lfs.sha256) == (200_000_000, digest.hexdigest())
    assert peak < 20_000_000


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("asked", "part"), [("5-", slice(5, None)), ("0-0", slice(1)), ("-4", slice(-4, None))])
def test_ranges(hub: HubSimulator, name: str, asked: str, part: slice) -> None:
    answer = get(hub, name, Range=f"bytes={asked}")
    start, stop, _ = part.indices(len(FILES[name]))
    assert (answer.status_code, answer.content) == (206, FILES[name][part])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(FILES[name])}"
    assert hub.requests[-1].range == f"bytes={asked}"


def test_a_range_past_the_end_and_ranges_nobody_understands(hub: HubSimulator) -> None:
    answer = get(hub, Range=f"bytes={len(CONFIG)}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(CONFIG)}")
    assert hub.bytes_sent(CONFIG_NAME) == 0
    assert [get(hub, Range=asked).status_code for asked in ("lines=1-2", "bytes=-", "bytes=0-1,3-4")] == [200] * 3


def test_many_clients_at_once(hub: HubSimulator) -> None:
    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda _: get(hub, WEIGHTS_NAME).content, range(64)))
    assert set(bodies) == {WEIGHTS}
    assert (hub.accepted, len(hub.requests), hub.bytes_sent(WEIGHTS_NAME)) == (64, 128, 64 * len(WEIGHTS))


def test_where_and_how_often_faults_apply(hub: HubSimulator) -> None:
    hub.fault("api", Status(429, {"Retry-After": "7"}, b"slow down"), times=2)
    for _ in range(2):
        with pytest.raises(errors.HfHubHTTPError, match="slow down") as caught:
            model_info(hub)
        assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "7")
    assert model_info(hub).sha == DEFAULT_COMMIT
    hub.fault(CONFIG_NAME, Status(503), times=1)
    hub.fault(CONFIG_NAME, Status(599))
    assert [get(hub, name).status_code for name in (CONFIG_NAME, CONFIG_NAME, WEIGHTS_NAME)] == [503, 599, 200]
    hub.clear_faults()
    hub.fault("*", Status(500), times=3)
    with pytest.raises(errors.HfHubHTTPError):
        model_info(hub)
    assert [get(hub, name).status_code for name in (CONFIG_NAME, WEIGHTS_NAME, WEIGHTS_NAME)] == [500, 500, 200]
    hub.fault(WEIGHTS_NAME, Status(404), methods=("HEAD",), at="redirect")
    with http() as client:
        assert client.head(address(hub, WEIGHTS_NAME)).status_code == 404
        assert client.get(address(hub, WEIGHTS_NAME)).status_code == 200
    with pytest.raises(ValueError, match="at least 1"):
        hub.fault("*", Status(500), times=0)


def test_a_status_without_a_body_and_one_which_frames_its_own(hub: HubSimulator) -> None:
    hub.fault(CONFIG_NAME, Status(304, body=b"not sent"), times=1)
    hub.fault(CONFIG_NAME, Status(200, {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n"), times=1)
    assert [get(hub).content for _ in range(3)] == [b"", b"abc", CONFIG]
    assert hub.bytes_sent(CONFIG_NAME) == len(CONFIG)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("fault", "error"), EARLY_ENDS[:3])
def test_a_body_which_ends_too_early(hub: HubSimulator, name: str, fault: Fault, error: type[Exception]) -> None:
    hub.fault(name, fault, times=1)
    body = bytearray()
    with pytest.raises(error):
        download(hub, name, body, timeout=0.3)
    assert (bytes(body), hub.bytes_sent(name)) == (FILES[name][:7], 7)
    download(hub, name, body)
    assert body == FILES[name]


@pytest.mark.parametrize(("fault", "error"), EARLY_ENDS)
def test_a_fault_ends_when_the_client_leaves(hub: HubSimulator, fault: Fault, error: type[Exception]) -> None:
    threads = threading.active_count()
    hub.fault("api", fault)
    with pytest.raises(error):
        model_info(hub, timeout=0.2)
    close_session()
    until(lambda: threading.active_count() == threads, 5.0)


def test_each_response_of_a_resumed_download_is_cut(hub: HubSimulator) -> None:
    hub.fault(WEIGHTS_NAME, faults.CutAfter(4000))
    body = bytearray()
    for _ in range(3):
        with suppress(httpx2.ReadError):
            download(hub, WEIGHTS_NAME, body)
    assert body == WEIGHTS
    assert [request.range for request in hub.requests[1::2]] == [None, "bytes=4000-", "bytes=8000-"]


def test_a_cut_delivers_all_it_promised_to_a_slow_reader(hub: HubSimulator) -> None:
    hub.add_model(REPO, {"vocabulary.txt": bytes(9_000_000)})
    hub.fault("vocabulary.txt", faults.CutAfter(8_000_000))
    received = bytearray()
    with connect(hub.endpoint, "vocabulary.txt") as client, suppress(ConnectionResetError):
        time.sleep(0.2)
        while piece := client.recv(65536):
            received += piece
        pytest.fail("an orderly end, not a reset")
    assert len(received.partition(b"\r\n\r\n")[2]) == hub.bytes_sent("vocabulary.txt") == 8_000_000


def test_bodies_which_lie(hub: HubSimulator) -> None:
    for fault in (faults.WrongBytes(), faults.ShortWithMatchingHeader(9), faults.Longer(5)):
        hub.fault(CONFIG_NAME, fault, times=1)
    wrong, short, longer = (get(hub) for _ in range(3))
    assert [at for at in range(len(CONFIG)) if wrong.content[at] != CONFIG[at]] == [len(CONFIG) // 2]
    assert (short.content, short.headers["Content-Length"]) == (CONFIG[:9], "9")
    assert (longer.content, longer.headers["Content-Length"]) == (CONFIG + bytes(5), str(len(CONFIG) + 5))


@pytest.mark.parametrize("fault", [faults.SlowDrip(40), faults.DripHeaders(0.005)])
def test_slowness_which_times_out_no_single_read(hub: HubSimulator, fault: Fault) -> None:
    hub.fault(CONFIG_NAME, fault)
    started = time.monotonic()
    assert get(hub, timeout=0.4).content == CONFIG
    assert time.monotonic() - started > 0.4


def test_a_redirect_loop(hub: HubSimulator) -> None:
    hub.fault(WEIGHTS_NAME, faults.RedirectLoop())
    with pytest.raises(httpx2.TooManyRedirects):
        get(hub, WEIGHTS_NAME)
    assert [request.origin for request in hub.requests] == ["hub"] * 21


def test_answers_to_a_range_which_are_not_what_was_asked(hub: HubSimulator) -> None:
    hub.fault(CONFIG_NAME, faults.IgnoreRange(), times=1)
    hub.fault(CONFIG_NAME, faults.WrongRange(), times=2)
    assert get(hub).content == CONFIG  # no range, so no fault is used up
    whole, later, first = (get(hub, Range=asked) for asked in ("bytes=10-", "bytes=10-", "bytes=0-"))
    assert (whole.status_code, whole.content) == (200, CONFIG)
    assert (later.status_code, later.content) == (206, CONFIG[5:])
    starts = [answer.headers["Content-Range"].partition("-")[0] for answer in (later, first)]
    assert starts == ["bytes 5", "bytes 1"]
    assert get(hub, Range="bytes=10-").content == CONFIG[10:]


@pytest.mark.parametrize("fault", [faults.Silence(), faults.StallAfter(3), faults.SlowDrip(1), faults.DripHeaders(5)])
def test_the_end_comes_at_once_and_leaves_no_thread(fault: Fault) -> None:
    threads = set(threading.enumerate())
    with HubSimulator(storage_host="127.0.0.1") as hub, ThreadPoolExecutor(4) as pool:
        hub.add_model(REPO, FILES)
        hub.fault(CONFIG_NAME, fault)
        answers = [pool.submit(get, hub) for _ in range(4)]
        until(lambda: len(hub.requests) == 4, 5.0)
        assert stops_at_once(hub)
        assert all(isinstance(answer.exception(), httpx2.TransportError) for answer in answers)
    assert set(threading.enumerate()) <= threads
    with pytest.raises(httpx2.ConnectError):
        get(hub)


def test_the_end_does_not_wait_for_a_client_which_does_not_read(hub: HubSimulator) -> None:
    hub.add_model(REPO, {"vocabulary.txt": bytes(50_000_000)}, lfs=lambda _: False)
    with connect(hub.endpoint, "vocabulary.txt"):
        until(lambda: hub.bytes_sent("vocabulary.txt") > 0, 5.0)
        assert stops_at_once(hub)
    assert hub.bytes_sent("vocabulary.txt") < 50_000_000


def test_a_failure_of_the_simulator_itself_is_not_swallowed(tmp_path: Path) -> None:
    weights = tmp_path / "model.bin"
    weights.write_bytes(bytes(100))
    hub = HubSimulator()
    hub.add_model(REPO, {"model.bin": weights})
    weights.write_bytes(bytes(10))
    with pytest.raises(ExceptionGroup, match="the simulated hub failed"), hub, suppress(httpx2.RemoteProtocolError):
        get(hub, "model.bin")


def test_a_silent_server_accepts_and_says_nothing() -> None:
    with SilentServer() as server:
        with pytest.raises(httpx2.ReadTimeout):
            HfApi(endpoint=server.endpoint).model_info(REPO, timeout=0.2)
        with connect(server.endpoint) as client:
            until(lambda: server.accepted == 2, 5.0)
            assert stops_at_once(server)
            assert client.recv(1) == b""
