"""Sign the statement about a bundle with a private key, in the OpenSSF model-signing format; with its certificate too.

The format, and how a signature is verified, are the runtime's: :mod:`thoth_models.verification.signatures.signature`.
The library is in the extra ``signing``, because builds do not need it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.verification.regular_file import read_small
from thoth_models.verification.signatures.signature import MAX_CERTIFICATES, Signature, pre_authentication
from thoth_models.verification.signatures.signers import HASHES, RefusedSignatureError, verify_signature
from thoth_models.verification.signatures.trust_store import CURVES, MAX_TRUST_FILE, TrustStore, fingerprint
from thoth_models_builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

PASSWORD_VARIABLE: Final = "THOTH_KEY_PASSWORD"  # noqa: S105 - the name of a variable
"""The password of an encrypted private key. Not an option, which other users of the machine could see."""


class SignableStatement(Protocol):
    """An in-toto statement: the one about the files of a bundle, or an attestation."""

    def to_bytes(self) -> bytes:
        """Return its JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A signature that the runtime's own code has verified.

    Attributes:
        signature: The signature.
        signer: Who signed, in words.
    """

    signature: Signature
    signer: str


def sign(
    statement: SignableStatement, key: Path, certificate: Path | None = None, chain: Sequence[Path] = ()
) -> Signed:
    """Sign a statement. The same key and statement give the same bytes (RFC 6979).

    Args:
        statement: What is signed.
        key: A file with the private key as PEM; if it is encrypted, ``THOTH_KEY_PASSWORD`` has the password.
        certificate: A file with the certificate of that key as PEM, and then maybe its chain; None to sign with the key
            alone.
        chain: Files with the certificates between that one and an authority, in this order.

    Raises:
        UsageError: A file cannot be used, they do not belong together, or the extra ``signing`` is not installed.
    """
    try:
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - the extra
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "expected the extra `signing` (pip install 'thoth-models-builder[signing]'), found no cryptography"
        ) from error
    private = _load_key(key)
    files = [] if certificate is None else [certificate, *chain]
    # A file may have the chain as well, as web servers have it.
    certificates = list(dict.fromkeys(one for path in files for one in _load(path)))
    if certificate is None and chain:
        raise UsageError("expected --certificate beside --chain, found --chain alone")
    if len(certificates) > MAX_CERTIFICATES:
        raise UsageError(f"expected at most {MAX_CERTIFICATES} certificates, found {len(certificates)}")
    if certificates and certificates[0].public_key() != private.public_key():
        raise UsageError(f"{certificate}: expected the certificate of the key in {key}, found that of another key")
    algorithm: hashes.HashAlgorithm = getattr(hashes, HASHES[private.curve.name])()
    payload = statement.to_bytes()
    made = private.sign(pre_authentication(payload), ec.ECDSA(algorithm, deterministic_signing=True))
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    public = private.public_key().public_bytes(encoding, form)
    in_der = tuple(one.public_bytes(encoding) for one in certificates)
    signature = Signature(
        payload=payload,
        signature=made,
        key=None if in_der else fingerprint(public),
        certificates=in_der,
    )
    # As a process that trusts this key, or the last certificate.
    store = TrustStore(keys={fingerprint(public): public}, authorities=in_der[-1:])
    try:
        return Signed(signature=signature, signer=verify_signature(signature, store))
    except RefusedSignatureError as error:
        raise UsageError(f"a signature with these files would be refused: {error}") from error


def _load_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    password = os.environ.get(PASSWORD_VARIABLE)
    expected = f"{path}: expected a private key as PEM"
    data = read_input(path)
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        if not password:
            raise UsageError(f"{path}: expected {PASSWORD_VARIABLE} for an encrypted key, found it not set") from None
        try:
            key = load_pem_private_key(data, password.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError(f"{expected} that {PASSWORD_VARIABLE} opens, found another") from None
    except (ValueError, UnsupportedAlgorithm):
        # Without what the library says, and without a chain: the file may be anything, a password included.
        raise UsageError(f"{expected}, found something else") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise UsageError(f"{expected} of {CURVES}, found one of another kind")
    return key


def _load(path: Path) -> list[Certificate]:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.load_pem_x509_certificates(read_input(path))
    except ValueError as error:
        raise UsageError(f"{path}: expected certificates as PEM, found something else ({error})") from error


def read_input(path: Path) -> bytes:
    """Return the bytes of a file that the user named to sign with.

    Raises:
        UsageError: It cannot be read, or is not a small regular file.
    """
    try:
        return read_small(path, MAX_TRUST_FILE)
    except FormatError as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror or error}") from error
