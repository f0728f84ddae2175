"""References to images, as Docker reads them."""

from __future__ import annotations

import pytest

from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import ImageReferenceError
from thoth_models_builder.oci.references import Reference, is_loopback

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("ghcr.io/acme/app:1.2", "ghcr.io", "acme/app", "1.2", None),
        ("localhost/app:x", "localhost", "app", "x", None),
        ("localhost:5000/app", "localhost:5000", "app", None, None),
        ("127.0.0.1:5000/a/b/c:_x.Y-z", "127.0.0.1:5000", "a/b/c", "_x.Y-z", None),
        ("[::1]:5000/app:1", "[::1]:5000", "app", "1", None),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", None),
        ("acme/app", "docker.io", "acme/app", None, None),
        ("docker.io/python:3", "docker.io", "library/python", "3", None),
        ("index.docker.io/acme/app:3", "docker.io", "acme/app", "3", None),
        (f"ghcr.io/acme/app@sha256:{HEX}", "ghcr.io", "acme/app", None, HEX),
        (f"ghcr.io/acme/app:1@sha256:{HEX}", "ghcr.io", "acme/app", "1", HEX),
        ("ghcr.io/a__b/c-d/e.f:1", "ghcr.io", "a__b/c-d/e.f", "1", None),
    ],
)
def test_references(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    found = Reference.parse(text)
    assert found == Reference(
        registry=registry, repository=repository, tag=tag, digest=None if digest is None else Digest(digest)
    )
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "lower-case letters"),
        ("ghcr.io/", "lower-case letters"),
        ("ghcr.io/Acme/app:1", "lower-case letters"),
        ("ghcr.io/acme//app:1", "lower-case letters"),
        ("ghcr.io/../app:1", "lower-case letters"),
        ("ghcr.io/acme/app:", "a tag of letters"),
        ("ghcr.io/acme/app:-x", "a tag of letters"),
        ("ghcr.io/acme/app:" + "x" * 129, "a tag of letters"),
        ("ghcr.io/acme/app@md5:abc", "a digest sha256:"),
        ("ghcr.io/acme/app@sha256:ABC", "64 lower-case hexadecimal digits"),
        ("https://ghcr.io/acme/app:1", "lower-case letters|the host of a registry"),
        ("user:word@ghcr.io/acme/app", "a digest sha256:"),
        ("ghcr.io:99999/acme/app:1", "the host of a registry"),
        ("gh cr.io/app:1", "the host of a registry"),
        ("ghcr.io/acme/app:1\n", "a tag of letters"),
        ("ghcr.io/" + "a" * 260 + ":1", "a name of at most 255"),
    ],
)
def test_what_is_no_reference(text: str, expected: str) -> None:
    with pytest.raises(ImageReferenceError, match=f"expected.*({expected})"):
        Reference.parse(text)


def test_nobody_is_given_latest_who_did_not_ask_for_it() -> None:
    with pytest.raises(ImageReferenceError, match=r"ghcr\.io/acme/app: expected a tag or a digest, found neither"):
        Reference.parse("ghcr.io/acme/app").name  # noqa: B018 - the property raises
    assert Reference.parse("ghcr.io/acme/app:latest").name == "latest"
    assert Reference.parse(f"ghcr.io/acme/app:1@sha256:{HEX}").name == f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("10.0.0.1:5000", False),
        ("ghcr.io", False),
    ],
)
def test_this_computer(registry: str, *, expected: bool) -> None:
    assert is_loopback(registry) is expected
