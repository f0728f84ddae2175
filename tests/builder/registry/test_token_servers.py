"""Which token server gets the credentials of a registry."""

from __future__ import annotations

import pytest

from tests.support.registry_server import WORD
from thoth_models_builder.errors import CredentialsError, RegistryError
from thoth_models_builder.registry.challenge import Challenge, token_request
from thoth_models_builder.registry.credentials import Credentials
from thoth_models_builder.registry.token_servers import VARIABLE, named_token_servers

OWN = [
    ("docker.io", "auth.docker.io"),
    ("ghcr.io", "ghcr.io"),
    ("registry.example.com:5050", "registry.example.com"),
    ("Registry.Example.com", "REGISTRY.example.com"),
    ("registry.gitlab.com", "gitlab.com"),
    ("10.0.0.5:5000", "10.0.0.5"),
    ("localhost:5000", "127.0.0.1"),
]
OTHERS = [
    ("docker.io", "auth.docker.io.example.com"),
    ("docker.io", "docker.example"),
    ("registry.example.com", "auth.docker.io"),
    ("registry.example.com", "other.example.com"),
    ("mine.cloud.example", "yours.cloud.example"),
    ("registry.example.com", "evil-registry.example.com"),
    ("registry.example.com", "ample.com"),
    ("registry.example.com", "com"),
    ("registry.example.com", "auth.registry.example.com"),
    ("10.0.0.5", "0.0.5"),
    ("10.0.0.5", "10.0.0.6"),
    ("localhost:5000", "tokens.example.com"),
]


def ask(registry: str, host: str, credentials: Credentials | None, *, named: str = "") -> str:
    """Return the Authorization header of a request to a token server, empty if there is none."""
    challenge = Challenge(scheme="bearer", parameters={"realm": f"https://{host}:8443/token"})
    named_hosts = frozenset(filter(None, [named]))
    asked = token_request(challenge, credentials, [], registry=registry, plain_http=False, named=named_hosts)
    return asked.headers.get("Authorization", "") or (asked.form or b"").decode()


PASSWORD = Credentials(username="builder", password=WORD)
IDENTITY = Credentials(identity_token=WORD)


@pytest.mark.parametrize(("registry", "host"), OWN)
@pytest.mark.parametrize("credentials", [PASSWORD, IDENTITY])
def test_credentials_go_to_the_token_server_of_their_registry(
    registry: str, host: str, credentials: Credentials
) -> None:
    assert ask(registry, host, credentials)


@pytest.mark.hostile
@pytest.mark.parametrize(("registry", "host"), OTHERS)
@pytest.mark.parametrize("credentials", [PASSWORD, IDENTITY])
def test_a_token_server_of_others_gets_no_credentials(registry: str, host: str, credentials: Credentials) -> None:
    with pytest.raises((CredentialsError, RegistryError)) as caught:
        ask(registry, host, credentials)
    assert repr(host) in str(caught.value)
    assert WORD not in str(caught.value)


def test_one_that_the_user_names_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " Login.example.net, ,tokens.example.org")
    assert named_token_servers() == {"login.example.net", "tokens.example.org"}
    with pytest.raises(
        CredentialsError, match=f"found 'login.example.net'; if it is the right one, name it in {VARIABLE}"
    ):
        ask("registry.example.com", "login.example.net", PASSWORD)
    assert ask("registry.example.com", "login.example.net", PASSWORD, named="login.example.net")
    monkeypatch.delenv(VARIABLE)
    assert named_token_servers() == frozenset()


def test_without_credentials_any_public_token_server_may_be_asked() -> None:
    assert not ask("registry.example.com", "tokens.example.net", None)


@pytest.mark.hostile
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]"])
def test_a_public_registry_does_not_lead_to_an_internal_token_server(host: str) -> None:
    for credentials in (None, PASSWORD):
        with pytest.raises(RegistryError, match="expected a token server with a public address, found"):
            ask("registry.example.com", host, credentials)
    assert ask("registry.example.com", "10.1.2.3", PASSWORD, named="10.1.2.3")
