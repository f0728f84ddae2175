"""Signing a statement: with each kind of key and certificate, and with files that cannot be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.signing import make_certificate, make_key
from thoth_models.bundle.digest import Digest
from thoth_models.verification.signatures.signature import Signature, Statement
from thoth_models.verification.signatures.signers import verify_signature
from thoth_models.verification.signatures.trust_store import TrustStore, read_trust_store
from thoth_models_builder.errors import UsageError
from thoth_models_builder.trust.signing import PASSWORD_VARIABLE, sign

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.signing
STATEMENT = Statement(name="ours", files={"manifest.json": Digest.of(b"manifest")})


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_the_same_key_and_statement_give_the_same_bytes(tmp_path: Path, curve: str) -> None:
    key = make_key(tmp_path, curve=curve)
    one, other = (sign(STATEMENT, key.file).signature.to_bytes() for _ in range(2))
    assert one == other
    signature = Signature.from_bytes(one)
    assert Statement.from_bytes(signature.payload) == STATEMENT
    assert verify_signature(signature, read_trust_store(key.public_file)) == sign(STATEMENT, key.file).signer


def test_with_a_certificate_and_its_chain(tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root", is_authority=True)
    issuing = make_certificate(tmp_path, "issuing", root, is_authority=True)
    signer = make_certificate(tmp_path, "signer", issuing)
    signed = sign(STATEMENT, signer.key.file, signer.file, [issuing.file])
    assert signed.signature.certificates == (signer.der, issuing.der)
    assert verify_signature(signed.signature, TrustStore(keys={}, authorities=(root.der,))) == signed.signer
    # The file of the certificate may have the chain as well, as web servers have it.
    signer.file.write_bytes(signer.file.read_bytes() + issuing.file.read_bytes())
    assert sign(STATEMENT, signer.key.file, signer.file) == signed
    assert sign(STATEMENT, signer.key.file, signer.file, [issuing.file]) == signed


def test_an_encrypted_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(tmp_path, password=b"correct horse")
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=f"expected {PASSWORD_VARIABLE} for an encrypted key, found it not set"):
        sign(STATEMENT, key.file)
    monkeypatch.setenv(PASSWORD_VARIABLE, "battery staple")
    with pytest.raises(UsageError, match=f"expected a private key as PEM that {PASSWORD_VARIABLE} opens") as caught:
        sign(STATEMENT, key.file)
    assert "battery" not in str(caught.value)
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct horse")
    assert verify_signature(sign(STATEMENT, key.file).signature, read_trust_store(key.public_file))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "expected a readable file, found: No such file"),
        ("release.pub", "expected a private key as PEM, found something else"),
        ("secret", "expected a private key as PEM, found something else"),
        ("other.key", "expected a private key as PEM of the curve P-256, P-384 or P-521, found one of another kind"),
        ("fifo", "expected a regular file, found a directory"),
    ],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, name: str, said: str) -> None:
    make_key(tmp_path)
    make_key(tmp_path, "other", "SECP256K1")
    (tmp_path / "secret").write_bytes(b"hunter2")
    (tmp_path / "fifo").mkdir()
    with pytest.raises(UsageError, match=said) as caught:
        sign(STATEMENT, tmp_path / name)
    assert "hunter2" not in repr(caught.value)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root", is_authority=True)
    signer = make_certificate(tmp_path, "signer", root)
    with pytest.raises(UsageError, match=r"expected the certificate of the key in .*root\.key, found that of another"):
        sign(STATEMENT, root.key.file, signer.file)
    with pytest.raises(UsageError, match="expected --certificate beside --chain"):
        sign(STATEMENT, root.key.file, None, [signer.file])
    with pytest.raises(UsageError, match="expected certificates as PEM, found something else"):
        sign(STATEMENT, root.key.file, root.key.file)
    other = make_certificate(tmp_path, "other", is_authority=True)
    with pytest.raises(UsageError, match="would be refused: expected a certificate issued below"):
        sign(STATEMENT, signer.key.file, signer.file, [other.file])
    with pytest.raises(UsageError, match="expected at most 8 certificates, found 9"):
        sign(
            STATEMENT,
            signer.key.file,
            signer.file,
            [make_certificate(tmp_path, str(number)).file for number in range(8)],
        )


def test_a_certificate_that_is_not_for_signing(tmp_path: Path) -> None:
    signer = make_certificate(tmp_path, "signer", may_sign=False)
    with pytest.raises(UsageError, match="would be refused: expected a certificate for digital signatures"):
        sign(STATEMENT, signer.key.file, signer.file)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(UsageError, match=r"pip install 'thoth-models-builder\[signing\]'"):
        sign(STATEMENT, tmp_path / "key")
