"""Messages show no secret."""

from __future__ import annotations

import pytest

from thoth_models_builder.net.redact import stated_secrets, without_secrets


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://user:p@ss@host/a?b=c#d, found", "at http://***@host/a?*** found"),
        ("https://host/a#token", "https://host/a?***"),
        ("http://host/a and user@example.org", "http://host/a and user@example.org"),
        ("socks5://u:p@host:1", "socks5://***@host:1"),
        ("Bearer topsecret!", "Bearer ***!"),
    ],
)
def test_secrets_are_taken_out_of_a_text(text: str, shown: str) -> None:
    assert without_secrets(text, "topsecret") == shown


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://user:pa/ss@host/a, found", "at http://***@host/a, found"),
        ("'http://user:p@host', \"https://u:p/q@host\"", "'http://***@host', \"https://***@host\""),
        ("http://host/a@1.0 and http://host/b", "http://***@1.0 and http://host/b"),
    ],
)
def test_a_password_ends_at_the_last_at_sign_of_a_word(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


SECRETS = {
    "HTTPS_PROXY": ("http://proxyuser:pa/ss-word@proxy:3128", ("pa/ss-word", "proxyuser:pa/ss-word")),
    "PIP_INDEX_URL": ("https://user:p%2Fssword@index/simple", ("p%2Fssword", "p/ssword")),
    "PIP_EXTRA_INDEX_URL": ("https://a/simple https://tok3nTok3nTok3nTok3n@b/simple", ("tok3nTok3nTok3nTok3n",)),
    "UV_INDEX_URL": ("https://pypi.example.org/aB3dE5gH7jK9mN1pQ3sT/simple/", ("aB3dE5gH7jK9mN1pQ3sT",)),
    "HF_TOKEN": ("hf_abcdefgh", ("hf_abcdefgh",)),
    "MIRROR_PASSWORD": (" geheim! \n", ("geheim!",)),
    "AWS_SECRET_ACCESS_KEY": ("wJalrXUtnFEMI/K7MDENG", ("wJalrXUtnFEMI/K7MDENG",)),
    "DOCKER_AUTH_SECRET": ("c2VjcmV0c2VjcmV0", ("c2VjcmV0c2VjcmV0",)),
    "SOME_API_KEY": ("key-123456", ("key-123456",)),
    "HF_ENDPOINT": ("https://reader:m1rr0r!@mirror/hub", ("m1rr0r!",)),
}


@pytest.mark.hostile
@pytest.mark.parametrize("name", SECRETS)
def test_secrets_of_the_environment_are_taken_out_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    value, secrets = SECRETS[name]
    for other in SECRETS:
        monkeypatch.delenv(other, raising=False)
    plain = "; ".join(f"found {secret} in an answer" for secret in secrets)
    assert without_secrets(plain) == plain
    monkeypatch.setenv(name, value)
    shown = without_secrets(plain)
    assert all(secret not in shown for secret in secrets)
    assert shown.count("in an answer") == len(secrets)


def test_words_and_paths_are_no_secrets() -> None:
    environment = {
        "HF_TOKEN": "short",
        "HF_TOKEN_PATH": "/home/user/token",
        "SECRETS_TOKEN": "/run/secrets/token",
        "TOKENIZERS_PARALLELISM": "disabled",
        "HF_ENDPOINT": "https://mirror.example.org/huggingface-mirror/with-long-names/",
        "PATH": "/usr/local/bin:/usr/bin",
    }
    assert stated_secrets(environment) == frozenset()
