"""Files of public keys and certificates: what is read, and what is an error."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.signing import make_certificate, make_key
from thoth_models.bundle.digest import Digest
from thoth_models.errors import EnvironmentFault
from thoth_models.verification.signatures import trust_store
from thoth_models.verification.signatures.trust_store import (
    MAX_TRUST_FILE,
    Identity,
    fingerprint,
    point_of,
    read_trust_store,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = base64.b64decode(
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8v97xE7NM7yttX8N7t9Tl9uXhrFAzgB7hAr1XkWAmGCgNusoe9Qvy925XQhhL7S2"
    "ivoBpussnrIp/HEv5ULeUA=="
)
"""A public key in DER."""


def pem(data: bytes, label: str = "PUBLIC KEY") -> bytes:
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label.encode(), base64.encodebytes(data), label.encode())


def test_a_file_with_several_keys_and_certificates(tmp_path: Path) -> None:
    other = KEY[:-1] + b"\x00"
    (tmp_path / "keys").write_bytes(b"ours:\n" + pem(KEY) + pem(other) + pem(b"a certificate", "CERTIFICATE"))
    found = read_trust_store(tmp_path / "keys")
    assert (found.keys, found.authorities) == ({fingerprint(KEY): KEY, fingerprint(other): other}, (b"a certificate",))
    assert str(found) == "2 public keys and 1 certificates"


def test_a_directory_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    """Its files are symlinks into a directory with a dot first, which is exchanged at each update."""
    place = tmp_path / "trust"
    (place / "..2026_11_30").mkdir(parents=True)
    (place / "..2026_11_30" / "release.pub").write_bytes(pem(KEY).replace(b"\n", b"\r\n"))
    (place / "..data").symlink_to("..2026_11_30")
    (place / "release.pub").symlink_to("..data/release.pub")
    assert list(read_trust_store(place).keys.values()) == [KEY]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected public keys or certificates as PEM, found none"),
        (b"ssh-ed25519 AAAA release\n", "expected public keys or certificates as PEM, found none"),
        (pem(KEY, "EC PRIVATE KEY"), "found EC PRIVATE KEY"),
        (pem(KEY)[:-20], "found none"),
        (pem(KEY).replace(b"MFkw", b"MF!w"), "found one that is not base64"),
        (pem(KEY[:-1]), "expected keys of the curve P-256, P-384 or P-521, found another"),
        (pem(b"\x30\x2a" + KEY[2:44]), "expected keys of the curve"),
        (b"-" * (MAX_TRUST_FILE + 1), f"expected at most {MAX_TRUST_FILE} bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.pub").write_bytes(pem(KEY))
    (tmp_path / "b.pub").write_bytes(content)
    with pytest.raises(EnvironmentFault, match=rf"THOTH_TRUST: .*/b\.pub: .*{said}"):
        read_trust_store(tmp_path)


ROOT = b'{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
TAGS = "https://github.com/acme/models/.github/workflows/release.yml@refs/tags/"


def identities(*each: object) -> bytes:
    return json.dumps({"identities": each}).encode()


def test_identities_beside_keys_and_the_trust_root(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(identities({"identity": "release@acme.example", "issuer": "https://a.example"}))
    (tmp_path / "b.json").write_bytes(b"\n" + identities({"identity_prefix": TAGS, "issuer": "https://b.example"}))
    (tmp_path / "release.pub").write_bytes(pem(KEY))
    (tmp_path / "root").write_bytes(ROOT)
    found = read_trust_store(tmp_path)
    assert found.identities == (
        Identity("release@acme.example", "https://a.example"),
        Identity(TAGS, "https://b.example", is_prefix=True),
    )
    assert (found.trusted_root, list(found.keys.values())) == (ROOT, [KEY])
    assert str(found) == "1 public keys, 0 certificates and 2 identities"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("name", "issuer"),
    [
        (f"{TAGS}v1", "https://b.example/"),
        (f"{TAGS[:-1]}-other/v1", "https://b.example"),
        (f"x{TAGS}v1", "https://b.example"),
        (TAGS.removesuffix("/"), "https://b.example"),
    ],
)
def test_a_prefix_is_that_of_a_name_by_the_same_issuer(name: str, issuer: str) -> None:
    trusted, tag = Identity(TAGS, "https://b.example", is_prefix=True), Identity(f"{TAGS}v1", "https://b.example")
    assert trusted.accepts(tag)
    assert not trusted._replace(is_prefix=False).accepts(tag)
    assert not trusted.accepts(Identity(name, issuer))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "expected JSON in UTF-8"),
        (b"{}", "the key 'identities'"),
        (b'{"identities": [], "identity": "x"}', "expected only the keys"),
        (identities({"identity": "x"}), "the key 'issuer'"),
        (identities({"identity": "x", "identity_prefix": "x", "issuer": "y"}), "expected only the keys"),
        (identities({"identity": "", "issuer": "y"}), "a text without spaces"),
        (identities({"identity": "x y", "issuer": "y"}), "a text without spaces"),
        (identities({"identity_prefix": TAGS[:-1], "issuer": "y"}), "a URI with a path that ends with a slash"),
        (identities({"identity_prefix": "https://github.com/", "issuer": "y"}), "a URI with a path that ends"),
        (identities(*[{"identity": "x", "issuer": "y"}] * 257), "at most 256 items"),
        (b'{"mediaType": "application/json"}', "mediaType: expected"),
        (identities({"identity": "x", "issuer": "y"}), "found identities alone"),
        (ROOT, "found a trust root alone"),
        (identities(), "identities: expected at least one identity"),
    ],
)
def test_identities_that_cannot_be_used_are_an_error(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "identities.json").write_bytes(content)
    with pytest.raises(EnvironmentFault, match=said):
        read_trust_store(tmp_path / "identities.json")


@pytest.mark.parametrize("content", [b"", pem(KEY)], ids=["alone", "before another"])
def test_a_block_without_an_end_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(pem(KEY) + pem(KEY)[:80] + b"\n" + content)
    with pytest.raises(EnvironmentFault, match="expected public keys or certificates as PEM, found 1 without an end"):
        read_trust_store(tmp_path / "keys")


@pytest.mark.hostile
@pytest.mark.parametrize("begin", [b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN A-----\n\n"])
def test_blocks_without_an_end_are_read_in_one_go(tmp_path: Path, begin: bytes) -> None:
    """Each looked for its end in all that follows: minutes for a file of the maximum size."""
    (tmp_path / "keys").write_bytes(begin * (MAX_TRUST_FILE // len(begin)))
    with pytest.raises(EnvironmentFault, match="found none"):
        read_trust_store(tmp_path / "keys")


def test_two_trust_roots_are_an_error(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes(ROOT)
    with pytest.raises(EnvironmentFault, match=r"expected one trust root, found .*a\.json and .*b\.json"):
        read_trust_store(tmp_path)


def test_what_is_neither_file_nor_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("absent")
    os.mkfifo(tmp_path / "fifo")
    for name, said in {"loop": "readable", "gone": "No such file", "absent": "No such file", "fifo": "a FIFO"}.items():
        with pytest.raises(EnvironmentFault, match=said):
            read_trust_store(tmp_path / name)
    with pytest.raises(EnvironmentFault, match="THOTH_TRUST"):
        read_trust_store(tmp_path)


def test_a_directory_with_too_many_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_store, "MAX_TRUST_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_bytes(pem(KEY))
    with pytest.raises(EnvironmentFault, match="expected 1 to 2 files, found 3"):
        read_trust_store(tmp_path)


@pytest.mark.signing
@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_keys_of_each_curve_are_read_as_the_library_writes_them(tmp_path: Path, curve: str) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = make_key(tmp_path, curve=curve)
    store = read_trust_store(key.public_file)
    assert store.keys == {Digest.of(key.public_file.read_bytes()): key.der}
    point = key.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert point_of(key.der) == (curve.lower(), point)


@pytest.mark.signing
def test_certificates_are_read_as_the_library_writes_them(tmp_path: Path) -> None:
    authority = make_certificate(tmp_path, "authority", is_authority=True)
    assert read_trust_store(authority.file).authorities == (authority.der,)
