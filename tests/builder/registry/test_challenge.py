"""How challenges of registries are read and answered."""

from __future__ import annotations

import pytest

from tests.support.registry_server import (
    WORD,
)
from thoth_models_builder.errors import CredentialsError, RegistryError
from thoth_models_builder.registry.challenge import Challenge, parse_challenges, token_request
from thoth_models_builder.registry.credentials import Credentials


@pytest.mark.hostile
def test_a_password_is_not_sent_to_a_token_server_without_tls() -> None:
    challenge = Challenge(scheme="bearer", parameters={"realm": "http://tokens.example.org/token"})
    credentials = Credentials(username="builder", password=WORD)
    with pytest.raises(CredentialsError, match="expected a token server with https"):
        token_request(challenge, credentials, [], registry="registry.example.org", plain_http=False)
    # Nothing is given away without credentials, or where plain HTTP was asked for.
    token_request(challenge, None, [], registry="registry.example.org", plain_http=False)
    named = ["tokens.example.org"]
    token_request(challenge, credentials, [], registry="registry.example.org", plain_http=True, named=named)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "realm", ["", "ftp://a/b", "/token", "https://", "https://[a/", "https://a:123456/", "https://a\x01b/"]
)
def test_a_challenge_without_a_token_server(realm: str) -> None:
    challenge = Challenge(scheme="bearer", parameters={"realm": realm})
    with pytest.raises(RegistryError, match="expected the address of a token server"):
        token_request(challenge, None, [], registry="registry.example.org", plain_http=False)


def test_scopes_that_a_registry_names_are_asked_for_too() -> None:
    challenge = Challenge(
        scheme="bearer", parameters={"realm": "https://a.example/token?x=1", "scope": "aws repository:a/b:pull"}
    )
    asked = token_request(challenge, None, ["repository:a/b:pull,push"], registry="a.example", plain_http=False)
    assert asked.url == "https://a.example/token?x=1&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=aws"
    assert asked.form is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="a, b=c"'], [("basic", {"realm": "a, b=c"})]),
        (
            ['Bearer realm="https://a/t",service=s , scope="x:y:pull"'],
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "x:y:pull"})],
        ),
        (['Negotiate, Basic realm="x"'], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (["NTLM", 'bearer Realm="q\\"q"'], [("ntlm", {}), ("bearer", {"realm": 'q"q'})]),
        ([""], []),
        (['="x" ,,,'], [("x", {})]),
    ],
)
def test_challenges(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, dict(found.parameters)) for found in parse_challenges(headers)] == expected
