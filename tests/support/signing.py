"""Keys, certificates and signatures of tests; what the builder's ``sign`` makes, and what an attacker would."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thoth_models import VerificationError, load_embedding, verify
from thoth_models.bundle.manifest import Manifest
from thoth_models.verification.signatures.signature import Signature, Statement, pre_authentication
from thoth_models.verification.signatures.signature_file import signature_path
from thoth_models.verification.signatures.trust_store import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

    from thoth_models.bundle.digest import Digest

_BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
"""Everything that x509.KeyUsage has to be given."""


@dataclass(frozen=True)
class Key:
    """A private key, and the files that sign with it and trust it."""

    private: EllipticCurvePrivateKey
    file: Path
    public_file: Path

    @property
    def der(self) -> bytes:
        """The public key."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of a payload, as the format has it."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        sizes: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        return self.private.sign(pre_authentication(payload), ec.ECDSA(sizes[self.private.curve.key_size]))


def make_key(directory: Path, name: str = "release", curve: str = "SECP256R1", *, password: bytes | None = None) -> Key:
    """Write a new private key and its public key: ``release.key`` and ``release.pub``."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(getattr(ec, curve)())
    encryption: Any = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    )
    pem = serialization.Encoding.PEM
    key = Key(private, directory / f"{name}.key", directory / f"{name}.pub")
    key.file.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))
    key.public_file.write_bytes(private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return key


@dataclass(frozen=True)
class Certified:
    """A certificate with its key."""

    key: Key
    certificate: Certificate
    file: Path

    @property
    def der(self) -> bytes:
        """The certificate."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.DER)


def make_certificate(
    directory: Path,
    name: str,
    issuer: Certified | None = None,
    *,
    is_authority: bool = False,
    may_sign: bool = True,
    may_issue: bool = True,
    curve: str = "SECP256R1",
    begin: int = 0,
    days: int = 365,
) -> Certified:
    """Write a new key, and its certificate: ``NAME.crt``, of an authority of its own if it has no issuer."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    key = make_key(directory, name, curve)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(KEY_USAGES, False)
    usage |= {
        "key_cert_sign": is_authority and may_issue,
        "crl_sign": is_authority,
        "digital_signature": may_sign and not is_authority,
    }
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN + dt.timedelta(days=begin))
        .not_valid_after(_BEGIN + dt.timedelta(days=begin + days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key.private if issuer is None else issuer.key.private, hashes.SHA256())
    )
    path = directory / f"{name}.crt"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Certified(key, certificate, path)


def certificate_with_unread_name(key: Key, extension: str = "2.5.29.17") -> bytes:
    """Return a certificate in DER with an X.400 address, in its alternative names unless another extension is given."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "unread")])
    address = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension), b"\x30\x02\xa3\x00")
    return (
        x509.CertificateBuilder(subject_name=name, issuer_name=name)
        .public_key(key.private.public_key())
        .serial_number(1)
        .not_valid_before(_BEGIN)
        .not_valid_after(_BEGIN + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key.private, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def signed(statement: Statement, key: Key, certificates: Sequence[Certified] = ()) -> Signature:
    """Return a signature of a statement, whatever that says."""
    payload = statement.to_bytes()
    return Signature(
        payload=payload,
        signature=key.sign(payload),
        key=None if certificates else fingerprint(key.der),
        certificates=tuple(one.der for one in certificates),
    )


def statement_about(root: Path) -> Statement:
    """Return what is signed of the bundle at ``root``."""
    return Statement.of(Manifest.from_bytes((root / "manifest.json").read_bytes()))


def refused(root: Path) -> str:
    """Return what is said of a bundle that is neither loaded nor verified by ``THOTH_TRUST``, the same for both."""
    import pytest

    with pytest.raises(VerificationError) as caught:
        load_embedding(root=root)
    with pytest.raises(VerificationError) as verified:
        verify(root, trust=os.environ["THOTH_TRUST"])
    assert caught.value.problems == verified.value.problems
    assert {problem.kind for problem in caught.value.problems} == {"signature"}
    return "\n".join(map(str, caught.value.problems))


def sign_bundle(
    root: Path,
    key: Key,
    certificates: Sequence[Certified] = (),
    changes: Mapping[str, Digest | None] | None = None,
) -> Path:
    """Write a signature beside a bundle, with some files changed in it: another digest, or None for a file left out."""
    statement = statement_about(root)
    files: dict[str, Digest | None] = {**statement.files, **(changes or {})}
    statement = statement._replace(files={path: digest for path, digest in files.items() if digest is not None})
    path = signature_path(root.resolve())
    path.write_bytes(signed(statement, key, certificates).to_bytes())
    return path
