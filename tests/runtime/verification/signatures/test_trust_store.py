"""Files of public keys and certificates: what is read, and what is an error."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.signing import make_certificate, make_key
from thoth_models.bundle.digest import Digest
from thoth_models.errors import EnvironmentFault
from thoth_models.verification.signatures import trust_store
from thoth_models.verification.signatures.trust_store import MAX_TRUST_FILE, fingerprint, point_of, read_trust_store

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
