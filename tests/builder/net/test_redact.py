"""Messages show no secret."""

from __future__ import annotations

import pytest

from thoth_models_builder.net.redact import without_secrets


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
