"""Requests to real registries that want credentials, tokens that end, and secrets that stay secret."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.support.hand_layouts import blobs, tar, write_image
from tests.support.registry_server import (
    WORD,
    Fault,
    FaultyProxy,
    RegistryServer,
    TokenServer,
    basic,
    certificate,
    docker_configuration,
    htpasswd,
    status,
)
from thoth_models_builder.errors import BuildError, CredentialsError, RegistryError, RegistryUnreachableError
from thoth_models_builder.registry.client import Limits, pull, push
from thoth_models_builder.registry.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = Limits(backoff=0.01, max_backoff=0.02, attempts=2)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_image(tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RegistryServer]:
    environment = htpasswd(tmp_path / "registry")
    with RegistryServer(tmp_path / "registry", environment=environment) as server:
        yield server


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(tmp_path / "tokens") as server:
        server.users = {"builder": WORD}
        yield server


@pytest.fixture
def trusting(tmp_path: Path, tokens: TokenServer) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry", environment=tokens.environment()) as server:
        yield server


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def write(**content: Any) -> None:
        monkeypatch.setenv("DOCKER_CONFIG", str(docker_configuration(tmp_path / "docker", **content)))

    return write


def test_a_registry_with_user_name_and_password(layout: Path, guarded: RegistryServer, configured: Any) -> None:
    configured(auths={guarded.host: basic("builder", WORD)})
    report = push(layout, f"{guarded.host}/acme/app:1")
    assert report.bytes_sent
    # Asked once who this is; no blob was sent in vain.
    assert [request.status for request in guarded.requests()].count(401) == 1
    pull(f"{guarded.host}/acme/app:1", layout.parent / "back")
    assert blobs(layout.parent / "back") == blobs(layout)


def test_without_credentials_it_says_which_are_missing(layout: Path, guarded: RegistryServer) -> None:
    with pytest.raises(CredentialsError, match=rf"{guarded.host}: expected a user name and a password in the Docker"):
        push(layout, f"{guarded.host}/acme/app:1")


def test_a_registry_that_lets_everybody_look_and_not_everybody_write(
    layout: Path, guarded: RegistryServer, configured: Any
) -> None:
    with FaultyProxy(guarded.host) as proxy:
        configured(auths={proxy.host: basic("builder", WORD)})
        proxy.faults.append(Fault("GET", "/v2/$", status(200)))
        assert push(layout, f"{proxy.host}/acme/app:1").bytes_sent
    # Who did not ask is told nothing: the first answers were without credentials.
    assert proxy.authorizations[0] is None
    assert proxy.seen[0] == ("GET", "/v2/")


def test_a_registry_that_wants_something_else(layout: Path, guarded: RegistryServer) -> None:
    with FaultyProxy(guarded.host) as proxy:
        proxy.faults.append(Fault("GET", "/v2/$", status(401, {"WWW-Authenticate": "Negotiate"})))
        with pytest.raises(RegistryError, match="expected a challenge for Basic or Bearer, found negotiate"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


@pytest.mark.hostile
def test_a_wrong_password_is_refused_and_not_shown(
    layout: Path, guarded: RegistryServer, configured: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    configured(auths={guarded.host: basic("builder", "a wrong word")})
    with pytest.raises(CredentialsError, match=r"401.*with the credentials of the Docker configuration") as caught:
        push(layout, f"{guarded.host}/acme/app:1")
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "a wrong word" not in told
    assert basic("builder", "a wrong word")["auth"] not in told


HTML = {"Content-Type": "text/html"}
PAGE = b"<html><title>401 Authorization Required</title></html>"


def test_a_wrong_password_at_a_proxy_in_front_of_the_registry(
    layout: Path, guarded: RegistryServer, configured: Any
) -> None:
    """It answers with a page, as nginx does; that is no reason to take it for something else than a refusal."""

    def as_page(_: str, __: str, headers: dict[str, str], data: bytes) -> tuple[dict[str, str], bytes]:
        is_refusal = any(name.lower() == "www-authenticate" for name in headers)
        kept = {
            name: value for name, value in headers.items() if name.lower() not in ("content-type", "content-length")
        }
        return ({**kept, **HTML}, PAGE) if is_refusal else (headers, data)

    with FaultyProxy(guarded.host) as proxy:
        proxy.change_answer = as_page
        configured(auths={proxy.host: basic("builder", "a wrong word")})
        message = r"401 and an HTML page, .* from http://.*/v2/.*, with the credentials of the Docker configuration$"
        with pytest.raises(CredentialsError, match=message):
            push(layout, f"{proxy.host}/acme/app:1")


def test_a_page_of_a_registry_that_forbids_it(layout: Path, guarded: RegistryServer, configured: Any) -> None:
    with FaultyProxy(guarded.host) as proxy:
        configured(auths={proxy.host: basic("builder", WORD)})
        proxy.faults.append(Fault("POST", "/uploads/", status(403, HTML, PAGE)))
        with pytest.raises(CredentialsError, match=r"found HTTP status 403 and an HTML page, .*, with the credentials"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


@pytest.mark.hostile
def test_a_page_of_a_captive_portal_without_a_challenge(layout: Path, guarded: RegistryServer) -> None:
    with FaultyProxy(guarded.host) as proxy:
        proxy.faults.append(Fault("GET", "/v2/$", status(401, HTML, PAGE)))
        with pytest.raises(RegistryError, match=r"a challenge for Basic or Bearer, found an HTML page, as a captive"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


def test_the_reason_of_a_registry_that_calls_everything_a_page(layout: Path, guarded: RegistryServer) -> None:
    said = b'{"errors": [{"code": "DENIED", "message": "no quota"}]}'
    with FaultyProxy(guarded.host) as proxy:
        proxy.faults.append(Fault("GET", "/v2/$", status(403, HTML, said)))
        with pytest.raises(CredentialsError, match=r"403 \(DENIED: no quota\), with no credentials"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


def test_a_registry_with_tokens(layout: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any) -> None:
    configured(auths={trusting.host: basic("builder", WORD)})
    push(layout, f"{trusting.host}/acme/app:1")
    assert tokens.asked == [{"service": ["registry.test"], "scope": ["repository:acme/app:pull,push"]}]
    pull(f"{trusting.host}/acme/app:1", layout.parent / "back")
    assert tokens.asked[1]["scope"] == ["repository:acme/app:pull"]
    assert blobs(layout.parent / "back") == blobs(layout)


def test_a_token_server_that_knows_nobody_else(layout: Path, trusting: RegistryServer, configured: Any) -> None:
    configured(auths={trusting.host: basic("builder", "a wrong word")})
    with pytest.raises(CredentialsError, match=r"expected a token from 127\.0\.0\.1, found HTTP status 401"):
        push(layout, f"{trusting.host}/acme/app:1")


@pytest.mark.parametrize("code", [401, 403])
def test_a_page_of_a_token_server_that_refuses(
    code: int, layout: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    configured(auths={trusting.host: basic("builder", "a wrong word")})
    tokens.answers_with = status(code, HTML, PAGE)
    message = (
        rf"expected a token from 127\.0\.0\.1, found HTTP status {code} and an HTML page, .*, with the credentials"
    )
    with pytest.raises(CredentialsError, match=message):
        push(layout, f"{trusting.host}/acme/app:1", limits=QUICK)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(200, body=b"hidden"), "expected a token from its token server, found something else"),
        (status(200, body=b"<html>hidden"), r"expected a token from 127\.0\.0\.1, found an HTML page, as a captive"),
        (status(200, body=b'{"expires_in": 5}'), "expected a token from its token server, found none"),
        (status(200, body=b'{"token": "hid\\nden"}'), "expected a token from its token server, found none"),
        (status(200, body=b'{"token": "hidden", "expires_in": "soon"}'), "found something else"),
        (status(503), r"/token\?\*\*\*, found HTTP status 503 \(after 2 attempts\)"),
        (status(404), r"expected a token from 127\.0\.0\.1, found HTTP status 404"),
        (status(302, {"Location": "http://127.0.0.1:9/"}), "found ConnectError"),
    ],
)
def test_a_token_server_that_misbehaves(  # noqa: PLR0917 - of parametrize
    answer: Any, message: str, layout: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    configured(auths={trusting.host: basic("builder", WORD)})
    tokens.answers_with = answer
    with pytest.raises(BuildError, match=message) as caught:
        push(layout, f"{trusting.host}/acme/app:1", limits=QUICK)
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.hostile
def test_a_silent_token_server_is_not_waited_for(layout: Path, trusting: RegistryServer, tokens: TokenServer) -> None:
    silent = threading.Event()

    def wait(_: object) -> bool:
        silent.wait(30)
        return True

    tokens.answers_with = wait
    started = time.monotonic()
    with pytest.raises(RegistryUnreachableError, match="found it unfinished after"):
        push(layout, f"{trusting.host}/acme/app:1", deadline=1)
    assert time.monotonic() - started < 4
    assert len(tokens.asked) == 1
    silent.set()


def test_a_token_that_does_not_allow_it(
    layout: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    configured(auths={trusting.host: basic("builder", WORD)})
    tokens.allowed = {"acme/app": {"pull"}}
    with pytest.raises(CredentialsError, match=r"found HTTP status 401 \(UNAUTHORIZED: .*with the credentials of the"):
        push(layout, f"{trusting.host}/acme/app:1")


def test_mounting_asks_for_a_token_of_both_repositories(
    tmp_path: Path, layout: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    configured(auths={trusting.host: basic("builder", WORD)})
    push(layout, f"{trusting.host}/library/base:1")
    tokens.asked.clear()
    report = push(layout, f"{trusting.host}/acme/app:1", mount_from=[f"{trusting.host}/library/base:1"])
    assert {blob.outcome for blob in report.blobs} == {"mounted"}
    assert tokens.asked[0]["scope"] == ["repository:acme/app:pull,push", "repository:library/base:pull"]


@pytest.mark.parametrize("refuses_unknown", [False, True])
def test_what_may_not_be_mounted_is_sent(
    refuses_unknown: bool,  # noqa: FBT001 - of parametrize
    layout: Path,
    trusting: RegistryServer,
    tokens: TokenServer,
    configured: Any,
) -> None:
    """Token servers either leave out what they do not allow, or give no token at all."""
    configured(auths={trusting.host: basic("builder", WORD)})
    push(layout, f"{trusting.host}/secret/base:1")
    tokens.allowed = {"acme/app": {"pull", "push"}}
    tokens.refuses_unknown = refuses_unknown
    report = push(layout, f"{trusting.host}/acme/app:1", mount_from=[f"{trusting.host}/secret/base:1"], limits=QUICK)
    assert {blob.outcome for blob in report.blobs} == {"sent"}
    # No token is asked for blob by blob: one for the first push, one for this, and one more where that is refused.
    assert len(tokens.asked) == 2 + refuses_unknown


def test_a_token_that_ends_is_renewed(
    tmp_path: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    """Docker's registry allows a minute of grace, so the registry's part is played by one that changed its mind."""
    configured()
    tokens.users.clear()
    layers = [tar({f"models/{number}": bytes([number]) * 100_000}) for number in range(6)]
    write_image(tmp_path / "many", *layers)
    with FaultyProxy(trusting.host) as proxy:
        challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.realm}",service="registry.test"'}
        proxy.faults.append(Fault("PUT", "/uploads/", status(401, challenge), times=2))
        report = push(tmp_path / "many", f"{proxy.host}/acme/app:1", limits=QUICK)
    assert [blob.outcome for blob in report.blobs] == ["sent"] * 7
    assert proxy.faults[0].happened == 2
    assert 2 <= len(tokens.asked) <= 3


def test_a_token_is_renewed_before_it_ends(
    tmp_path: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    configured()
    tokens.users.clear()
    tokens.seconds = 1
    write_image(tmp_path / "layout")
    with FaultyProxy(trusting.host) as proxy:

        def slow(_: object) -> bool:
            time.sleep(0.9)
            return False

        proxy.faults.append(Fault("PUT", "/uploads/", slow))
        push(tmp_path / "layout", f"{proxy.host}/acme/app:1")
    assert len(tokens.asked) > 1


def test_an_identity_token_is_exchanged(
    layout: Path, trusting: RegistryServer, tokens: TokenServer, configured: Any
) -> None:
    tokens.identity_tokens = {"an identity token"}
    configured(auths={trusting.host: {"auth": basic("0", "")["auth"], "identitytoken": "an identity token"}})
    push(layout, f"{trusting.host}/acme/app:1")
    assert tokens.asked[0]["grant_type"] == ["refresh_token"]
    assert tokens.asked[0]["scope"] == ["repository:acme/app:pull,push"]


@pytest.mark.hostile
def test_credentials_go_to_the_registry_and_to_no_other_host(
    tmp_path: Path, layout: Path, guarded: RegistryServer, configured: Any
) -> None:
    """A registry that sends uploads elsewhere, as some clouds do: what is elsewhere learns nothing."""
    with FaultyProxy(guarded.host) as elsewhere, FaultyProxy(guarded.host) as proxy:
        configured(auths={proxy.host: basic("builder", WORD)})

        def away(method: str, path: str, headers: dict[str, str], data: bytes) -> tuple[dict[str, str], bytes]:
            if method == "POST" and "Location" in headers:
                headers["Location"] = headers["Location"].replace(proxy.host, elsewhere.host)
            return headers, data

        proxy.change_answer = away
        elsewhere.faults.append(Fault("PUT", "", lambda _: False))
        with pytest.raises(BuildError):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)
    assert elsewhere.seen
    assert set(elsewhere.authorizations) == {None}
    assert any(authorization for authorization in proxy.authorizations)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/a/blobs/uploads/1?x=y%2Bz", "https://registry.example/v2/a/blobs/uploads/1?x=y%2Bz"),
        ("https://elsewhere.example/1", "https://elsewhere.example/1"),
        # A registry behind a proxy that speaks TLS for it.
        ("http://registry.example/1", "https://registry.example/1"),
        ("http://elsewhere.example/1", None),
    ],
)
def test_uploads_do_not_leave_tls(location: str, expected: str | None) -> None:
    session = Session("registry.example", scopes=[])
    request = httpx2.Request("POST", "https://registry.example/v2/a/blobs/uploads/")
    answer = httpx2.Response(202, headers={"Location": location}, request=request)
    if expected is None:
        with pytest.raises(RegistryError, match=r"expected a Location with https, found one at 'elsewhere\.example'"):
            session.location(answer)
    else:
        assert session.location(answer) == expected


def test_a_registry_token_is_shown_as_it_is(configured: Any, layout: Path, trusting: RegistryServer) -> None:
    configured(auths={trusting.host: {"registrytoken": "not a real one"}})
    with pytest.raises(CredentialsError, match="401") as caught:
        push(layout, f"{trusting.host}/acme/app:1")
    assert "not a real one" not in str(caught.value)


@pytest.mark.hostile
def test_tls_with_a_certificate_that_is_not_trusted(
    tmp_path: Path, layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, chain = certificate(tmp_path / "tls")
    environment = {"REGISTRY_HTTP_TLS_CERTIFICATE": str(chain), "REGISTRY_HTTP_TLS_KEY": str(key)}
    with RegistryServer(tmp_path / "registry", environment=environment) as server:
        with pytest.raises(RegistryError, match=r"(?i)certificate") as caught:
            push(layout, f"{server.host}/acme/app:1", plain_http=False)
        # Not tried again: it would be the same.
        assert "attempts" not in str(caught.value)
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        assert push(layout, f"{server.host}/acme/app:1", plain_http=False).bytes_sent
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("CURL_CA_BUNDLE", str(chain))
        push(layout, f"{server.host}/acme/app:2", plain_http=False)


@pytest.mark.hostile
def test_plain_http_is_for_this_computer_only(layout: Path, tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry") as server, pytest.raises(RegistryError, match="https://"):
        push(layout, f"{server.host}/acme/app:1", plain_http=False)


@pytest.mark.hostile
@pytest.mark.parametrize("realm", ["https://[a/token", "https://%e2%80%a4/token"])
def test_a_challenge_whose_token_server_has_no_address(
    layout: Path, guarded: RegistryServer, configured: Any, realm: str
) -> None:
    """One that no parser takes, and one whose host name is none."""
    with FaultyProxy(guarded.host) as proxy:
        configured()
        proxy.faults.append(Fault("GET", "/v2/$", status(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'})))
        with pytest.raises(RegistryError, match=r"token server|registry\.test|expected an answer"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


@pytest.mark.hostile
def test_a_registry_on_loopback_sends_no_password_elsewhere_without_tls(
    layout: Path, guarded: RegistryServer, configured: Any
) -> None:
    """Plain HTTP is taken for granted there; that is no reason to speak it with others, nor to entrust them with it."""
    with FaultyProxy(guarded.host) as proxy:
        configured(auths={proxy.host: basic("builder", WORD)})
        challenge = {"WWW-Authenticate": 'Bearer realm="http://tokens.example.org/token"'}
        proxy.faults.append(Fault("GET", "/v2/$", status(401, challenge)))
        with pytest.raises(CredentialsError, match="expected a token server with https"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)
        challenge["WWW-Authenticate"] = 'Bearer realm="https://tokens.example.org/token"'
        proxy.faults.append(Fault("GET", "/v2/$", status(401, challenge)))
        with pytest.raises(CredentialsError, match=r"found 'tokens\.example\.org'; .* name it in THOTH_TOKEN_SERVERS"):
            push(layout, f"{proxy.host}/acme/app:1", limits=QUICK)


def test_the_log_says_which_token_server_is_asked(
    layout: Path, trusting: RegistryServer, configured: Any, caplog: pytest.LogCaptureFixture
) -> None:
    configured(auths={trusting.host: basic("builder", WORD)})
    with caplog.at_level(logging.INFO, "thoth_models_builder"):
        push(layout, f"{trusting.host}/acme/app:1")
    assert f"{trusting.host}: asking 127.0.0.1 for a token, with credentials" in caplog.messages
