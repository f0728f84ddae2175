"""What the Docker configuration and its credential helpers say."""

from __future__ import annotations

import base64
import json
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hand_layouts import sha256
from tests.support.registry_server import (
    basic,
    docker_configuration,
)
from thoth_models_builder.errors import CredentialsError
from thoth_models_builder.registry.credentials import Credentials, find_credentials

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def write(**content: Any) -> None:
        monkeypatch.setenv("DOCKER_CONFIG", str(docker_configuration(tmp_path / "docker", **content)))

    return write


def helper(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_no_configuration_is_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nowhere"))
    assert find_credentials("ghcr.io") is None
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_credentials("ghcr.io") is None
    docker_configuration(tmp_path / ".docker", auths={"ghcr.io": basic("someone", "word")})
    assert find_credentials("ghcr.io") == Credentials(username="someone", password="word")


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_entries_are_found_by_their_host(key: str, registry: str, configured: Any) -> None:
    configured(auths={"another.example": basic("x", "y"), key: basic("someone", "a:b")})
    assert find_credentials(registry) == Credentials(username="someone", password="a:b")
    assert find_credentials("ghcr.io:444") is None


def test_user_name_and_password_in_the_clear(configured: Any) -> None:
    configured(auths={"ghcr.io": {"username": "someone", "password": "word"}})
    assert find_credentials("ghcr.io") == Credentials(username="someone", password="word")


def test_an_empty_entry_is_none(configured: Any) -> None:
    configured(auths={"ghcr.io": {}})
    assert find_credentials("ghcr.io") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"auths": []}, None),
        ({"auths": ["secret"]}, "auths: expected an object, found a list"),
        ({"auths": {"ghcr.io": "secret"}}, r"expected an object for ghcr\.io, found a str"),
        ({"auths": {"ghcr.io": {"auth": "s€cret"}}}, "auth: expected base64, found something else"),
        ({"auths": {"ghcr.io": {"auth": base64.b64encode(b"secret").decode()}}}, "expected a user name, a colon and a"),
        ({"auths": {"ghcr.io": {"auth": 7}}}, "auth: expected text, found a int"),
        ({"credsStore": "../secret"}, "expected the name of a credential helper"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(
    content: dict[str, Any], message: str | None, configured: Any
) -> None:
    configured(**content)
    if message is None:
        assert find_credentials("ghcr.io") is None
        return
    with pytest.raises(CredentialsError, match=message) as caught:
        find_credentials("ghcr.io")
    assert "config.json" in str(caught.value)


@pytest.mark.hostile
def test_credentials_that_are_no_json_are_not_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"ghcr.io": {"auth": "c2VjcmV0"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(CredentialsError, match="expected JSON, found something else") as caught:
        find_credentials("ghcr.io")
    assert "c2VjcmV0" not in "".join(traceback.format_exception(caught.value))


def test_a_helper_of_the_registry_goes_before_the_one_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    answer = '{"ServerURL": "", "Username": "%s", "Secret": "word of %s"}'
    for name in ("one", "all"):
        helper(tmp_path / "bin", monkeypatch, name, f"cat > {tmp_path}/asked-{name}\necho '{answer % (name, name)}'")
    configured(credHelpers={"ghcr.io": "one"}, credsStore="all", auths={"ghcr.io": basic("file", "file")})
    assert find_credentials("ghcr.io") == Credentials(username="one", password="word of one")
    assert find_credentials("quay.io") == Credentials(username="all", password="word of all")
    assert find_credentials("docker.io") == Credentials(username="all", password="word of all")
    assert (tmp_path / "asked-one").read_text() == "ghcr.io"
    assert (tmp_path / "asked-all").read_text() == "https://index.docker.io/v1/"


def test_a_helper_that_knows_nothing_leaves_it_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    helper(tmp_path / "bin", monkeypatch, "x", "echo 'credentials not found in native keychain'; exit 1")
    configured(credsStore="x", auths={"ghcr.io": basic("file", "word")})
    assert find_credentials("ghcr.io") == Credentials(username="file", password="word")
    assert find_credentials("quay.io") is None


def test_a_helper_may_give_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Any) -> None:
    helper(tmp_path / "bin", monkeypatch, "x", """echo '{"Username": "<token>", "Secret": "identity"}'""")
    configured(credsStore="x")
    assert find_credentials("ghcr.io") == Credentials(identity_token="identity")


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'not logged in'; exit 3", r"x: expected credentials for ghcr\.io, found exit status 3: not logged in"),
        ('echo \'{"Secret": "hidden"}\'; exit 3', r"found exit status 3: no reason"),
        ("echo hidden", "expected JSON with Username and Secret"),
        ('echo \'{"Username": 1, "Secret": "hidden"}\'', "expected Username and Secret as text"),
    ],
)
def test_a_helper_that_fails_is_named_and_its_secrets_are_not(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    helper(tmp_path / "bin", monkeypatch, "x", script)
    configured(credsStore="x")
    with pytest.raises(CredentialsError, match=message) as caught:
        find_credentials("ghcr.io")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_a_helper_that_is_not_there(configured: Any) -> None:
    configured(credsStore="nobody-has-this")
    with pytest.raises(CredentialsError, match="docker-credential-nobody-has-this: expected the credential helper"):
        find_credentials("ghcr.io")


@pytest.mark.hostile
def test_a_helper_that_waits_for_ever_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    helper(tmp_path / "bin", monkeypatch, "x", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    configured(credsStore="x")
    started = time.monotonic()
    with pytest.raises(CredentialsError, match=r"within 0\.5 s, found none"):
        find_credentials("ghcr.io", helper_seconds=0.5)
    assert time.monotonic() - started < 5
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


@pytest.mark.hostile
def test_credentials_do_not_show_themselves() -> None:
    shown = repr(Credentials(username="someone", password="word", identity_token="identity", registry_token="registry"))
    assert shown == "Credentials(username='someone')"
    assert json.dumps(sha256(b"")) not in shown


def _runs(process: int) -> bool:
    from pathlib import Path

    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
