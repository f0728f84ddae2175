"""Who signed: keys of each curve, and certificates below a trusted one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.signing import certificate_with_unread_name, make_certificate, make_key, signed
from thoth_models.bundle.digest import Digest
from thoth_models.errors import EnvironmentFault
from thoth_models.verification.signatures.signature import Signature, Statement
from thoth_models.verification.signatures.signers import RefusedSignatureError, verify_signature
from thoth_models.verification.signatures.trust_store import TrustStore, fingerprint, read_trust_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.signing import Certified

pytestmark = pytest.mark.signing
STATEMENT = Statement(name="ours", files={"manifest.json": Digest.of(b"manifest")})


def trusting(*authorities: Certified) -> TrustStore:
    return TrustStore(keys={}, authorities=tuple(one.der for one in authorities))


@pytest.fixture
def root(tmp_path: Path) -> Certified:
    return make_certificate(tmp_path, "root", is_authority=True, days=3650)


@pytest.fixture
def issuing(tmp_path: Path, root: Certified) -> Certified:
    return make_certificate(tmp_path, "issuing", root, is_authority=True)


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_a_trusted_key_of_each_curve(tmp_path: Path, curve: str) -> None:
    key = make_key(tmp_path, curve=curve)
    store = read_trust_store(key.public_file)
    signature = signed(STATEMENT, key)
    assert verify_signature(signature, store) == f"the key {fingerprint(key.der).short}"
    for changed in (
        Signature(payload=signature.payload + b" ", signature=signature.signature, key=signature.key),
        Signature(payload=signature.payload, signature=signature.signature[:-1], key=signature.key),
        Signature(payload=signature.payload, signature=b"", key=signature.key),
    ):
        with pytest.raises(RefusedSignatureError, match="expected a signature of this payload by the key"):
            verify_signature(changed, store)


def test_one_of_several_keys_whether_it_is_named_or_not(tmp_path: Path) -> None:
    keys = [make_key(tmp_path, name) for name in "abc"]
    store = TrustStore(keys={fingerprint(key.der): key.der for key in keys})
    named = signed(STATEMENT, keys[1])
    for key in (named.key, None):
        signature = Signature(payload=named.payload, signature=named.signature, key=key)
        assert verify_signature(signature, store) == f"the key {fingerprint(keys[1].der).short}"
    # Named as another trusted key, it is not tried with all.
    other = Signature(payload=named.payload, signature=named.signature, key=fingerprint(keys[0].der))
    with pytest.raises(RefusedSignatureError):
        verify_signature(other, store)


def test_a_trusted_key_whose_point_is_not_on_its_curve_is_an_error(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    wrong = key.der[:-1] + bytes([key.der[-1] ^ 1])
    with pytest.raises(EnvironmentFault, match="point is on its curve"):
        verify_signature(signed(STATEMENT, key), TrustStore(keys={fingerprint(key.der): wrong}))


def test_a_key_takes_only_the_curves_of_the_library() -> None:
    """The rest of it takes longer to import than all that a signature by a key needs."""
    code = (
        "import sys; from cryptography.hazmat.primitives.asymmetric import ec; before = set(sys.modules)\n"
        "from thoth_models.verification.signatures.signature import Signature\n"
        "from thoth_models.verification.signatures.signers import RefusedSignatureError, verify_signature\n"
        "from thoth_models.verification.signatures.trust_store import TrustStore, fingerprint\n"
        f"key = bytes.fromhex({'3059301306072a8648ce3d020106082a8648ce3d030107034200' + POINT!r})\n"
        "try: verify_signature(Signature(payload=b'', signature=b''), TrustStore(keys={fingerprint(key): key}))\n"
        "except RefusedSignatureError: print([m for m in set(sys.modules) - before if m.startswith('cryptography')])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert printed.stdout == "[]\n"


POINT = (
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
"""The generator of P-256, by SEC 2."""


# --- certificates ---


def test_a_certificate_below_a_trusted_one(tmp_path: Path, root: Certified, issuing: Certified) -> None:
    signer = make_certificate(tmp_path, "signer", issuing)
    signature = signed(STATEMENT, signer.key, [signer, issuing])
    assert verify_signature(signature, trusting(root)) == "the certificate of CN=signer"
    assert verify_signature(signature, trusting(issuing)) == "the certificate of CN=signer"
    for chain, store in (([signer], trusting(root)), ([signer, issuing], trusting(signer_of(tmp_path)))):
        with pytest.raises(RefusedSignatureError, match="expected a certificate issued below one of the 0 public keys"):
            verify_signature(signed(STATEMENT, signer.key, chain), store)


def signer_of(directory: Path) -> Certified:
    """An authority of the same name, with another key."""
    return make_certificate(directory, "root", is_authority=True)


@pytest.mark.hostile
def test_a_chain_that_brings_its_own_authority_is_not_trusted(tmp_path: Path, root: Certified) -> None:
    fake = signer_of(tmp_path)
    signer = make_certificate(tmp_path, "signer", fake)
    with pytest.raises(RefusedSignatureError, match="issued below"):
        verify_signature(signed(STATEMENT, signer.key, [signer, fake]), trusting(root))


@pytest.mark.hostile
def test_a_signer_cannot_issue_certificates(tmp_path: Path, root: Certified) -> None:
    signer = make_certificate(tmp_path, "signer", root)
    forged = make_certificate(tmp_path, "forged", signer)
    with pytest.raises(RefusedSignatureError, match="issued below"):
        verify_signature(signed(STATEMENT, forged.key, [forged, signer]), trusting(root))


@pytest.mark.hostile
def test_an_authority_that_may_not_issue_certificates(tmp_path: Path, root: Certified) -> None:
    authority = make_certificate(tmp_path, "authority", root, is_authority=True, may_issue=False)
    signer = make_certificate(tmp_path, "signer", authority)
    with pytest.raises(RefusedSignatureError, match="issued below"):
        verify_signature(signed(STATEMENT, signer.key, [signer, authority]), trusting(root))


@pytest.mark.hostile
def test_a_certificate_that_is_not_for_signing(tmp_path: Path, root: Certified) -> None:
    signer = make_certificate(tmp_path, "signer", root, may_sign=False)
    with pytest.raises(RefusedSignatureError, match="expected a certificate for digital signatures"):
        verify_signature(signed(STATEMENT, signer.key, [signer]), trusting(root))


@pytest.mark.hostile
def test_a_signature_by_another_key_than_that_of_the_certificate(tmp_path: Path, root: Certified) -> None:
    signer = make_certificate(tmp_path, "signer", root)
    with pytest.raises(RefusedSignatureError, match="expected a signature of this payload with the certificate of CN="):
        verify_signature(signed(STATEMENT, make_key(tmp_path), [signer]), trusting(root))


def test_a_certificate_is_checked_at_the_moment_when_it_began(tmp_path: Path, root: Certified) -> None:
    """Which is when it is taken to have signed: nothing in the format says when it did."""
    ended = make_certificate(tmp_path, "signer", root, days=1)
    assert verify_signature(signed(STATEMENT, ended.key, [ended]), trusting(root))
    later = make_certificate(tmp_path, "signer", root, begin=4000)
    with pytest.raises(RefusedSignatureError, match="issued below"):
        verify_signature(signed(STATEMENT, later.key, [later]), trusting(root))


@pytest.mark.hostile
@pytest.mark.parametrize("data", [b"", b"\x30\x03", b"no certificate"])
def test_bytes_that_are_no_certificate(tmp_path: Path, root: Certified, data: bytes) -> None:
    key = make_key(tmp_path)
    signature = Signature(payload=b"", signature=key.sign(b""), certificates=(data,))
    with pytest.raises(RefusedSignatureError, match="expected certificates in DER"):
        verify_signature(signature, trusting(root))
    with pytest.raises(RefusedSignatureError, match="one with a certificate, and none is trusted"):
        verify_signature(signature, read_trust_store(key.public_file))


@pytest.mark.hostile
def test_a_certificate_of_a_key_of_another_kind(tmp_path: Path, root: Certified) -> None:
    other = make_certificate(tmp_path, "other", root, curve="SECP256K1")
    signature = Signature(payload=b"", signature=b"", certificates=(other.der,))
    with pytest.raises(RefusedSignatureError, match="expected a certificate of a key of the curve P-256"):
        verify_signature(signature, trusting(root))


def test_a_trusted_certificate_that_is_none_is_an_error(tmp_path: Path, root: Certified) -> None:
    signer = make_certificate(tmp_path, "signer", root)
    with pytest.raises(EnvironmentFault, match="expected certificates, found another"):
        verify_signature(signed(STATEMENT, signer.key, [signer]), TrustStore(keys={}, authorities=(b"x",)))


@pytest.mark.hostile
@pytest.mark.parametrize("extension", ["2.5.29.17", "2.5.29.18"], ids=["subject", "issuer"])
def test_a_certificate_with_a_name_that_the_library_does_not_read(
    tmp_path: Path, root: Certified, extension: str
) -> None:
    """An X.400 address: the library has an error of its own for it, which is neither of its checks nor a ValueError."""
    certificate = certificate_with_unread_name(make_key(tmp_path), extension)
    signature = Signature(payload=b"{}", signature=b"made", certificates=(certificate,))
    with pytest.raises(RefusedSignatureError, match="expected certificates in DER, found something else"):
        verify_signature(signature, trusting(root))
