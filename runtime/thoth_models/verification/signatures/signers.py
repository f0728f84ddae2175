"""Verify who signed: a trusted key, or a certificate below a trusted one.

cryptography is the extra ``signing``. Each function imports what it needs, because the library's support for
certificates takes several times as long to import as that for keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thoth_models.bundle.hidden_characters import escaped
from thoth_models.errors import EnvironmentFault
from thoth_models.process.environment import TRUST_VARIABLE
from thoth_models.verification.signatures.signature import MAX_CERTIFICATES
from thoth_models.verification.signatures.trust_store import CURVES, RefusedSignatureError, point_of

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509.verification import Policy

    from thoth_models.verification.signatures.signature import Signature
    from thoth_models.verification.signatures.trust_store import TrustStore

__all__ = ["HASHES", "RefusedSignatureError", "verify_signature"]

HASHES: Final = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""The hash of each curve: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_common.proto."""


def verify_signature(signature: Signature, store: TrustStore) -> str:
    """Verify a signature, and return in words who made it.

    Raises:
        RefusedSignatureError: It is not that of a trusted key, certificate or identity.
        EnvironmentFault: The extra ``signing`` is not installed, or ``keyless`` for an identity.
    """
    if signature.keyless:
        from thoth_models.verification.signatures.keyless import verify_keyless  # noqa: PLC0415

        return verify_keyless(signature, store)
    try:
        import cryptography  # noqa: F401, PLC0415 - the extra
    except ImportError as error:
        what = "expected the extra `signing` (pip install 'thoth-models[signing]'), found no cryptography"
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {what}") from error
    if signature.certificates:
        return _verify_with_certificates(signature, store)
    wanted = [key for key in store.keys if signature.key in (None, key)]
    if not wanted:
        by = "a key that it does not name" if signature.key is None else f"the key {signature.key.short}"
        raise RefusedSignatureError(f"a signature by one of the {store} of {TRUST_VARIABLE}", f"one by {by}")
    for name in wanted:
        if _is_made_with(_load(store.keys[name]), signature):
            return f"the key {name.short}"
    tried = " or ".join(name.short for name in wanted)
    raise RefusedSignatureError(f"a signature of this payload by the key {tried}", "another one")


def _load(key: bytes) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    found = point_of(key)
    if found is None:
        raise TypeError("a trust store has keys of known curves only")
    curve, point = found
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, curve.upper())(), point)
    except ValueError as error:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: expected keys whose point is on its curve, found another") from error


def _is_made_with(key: EllipticCurvePublicKey, signature: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    class Verification(ec.ECDSA):
        """ECDSA without its constructor, which imports all of the library to know whether it can sign repeatably."""

        def __init__(self) -> None:
            pass

        @property
        def algorithm(self) -> hashes.HashAlgorithm:
            algorithm: hashes.HashAlgorithm = getattr(hashes, HASHES[key.curve.name])()
            return algorithm

    try:
        key.verify(signature.signature, signature.signed_bytes(), Verification())
    except InvalidSignature:
        return False
    return True


# --- certificates ---


def _verify_with_certificates(signature: Signature, store: TrustStore) -> str:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    if not store.authorities:
        raise RefusedSignatureError(
            f"a signature by one of the {store} of {TRUST_VARIABLE}", "one with a certificate, and none is trusted"
        )
    try:
        signer, *others = [x509.load_der_x509_certificate(data) for data in signature.certificates]
        key = signer.public_key()
        _check_usage(signer)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise RefusedSignatureError("certificates in DER", f"something else ({error})") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise RefusedSignatureError(f"a certificate of a key of {CURVES}", "one of another key")
    _check_chain(signer, others, store)
    name = escaped(signer.subject.rfc4514_string())
    if not _is_made_with(key, signature):
        raise RefusedSignatureError(f"a signature of this payload with the certificate of {name}", "another one")
    return f"the certificate of {name}"


def _check_usage(signer: x509.Certificate) -> None:
    """Check that a certificate is meant for signing, as the reference implementation does."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    for extension in signer.extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage) and value.digital_signature:
            return
        if isinstance(value, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING in value:
            return
    raise RefusedSignatureError("a certificate for digital signatures or for signing code", "one for neither")


def _check_chain(signer: x509.Certificate, others: list[x509.Certificate], store: TrustStore) -> None:
    """Check that a certificate was issued below a trusted one.

    All must have been valid at the first moment of the signer's, which is when it is taken to have signed, as in the
    reference implementation: the format has no time of signing that could be believed.
    """
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509 import verification  # noqa: PLC0415

    try:
        trusted = verification.Store([x509.load_der_x509_certificate(data) for data in store.authorities])
    except ValueError as error:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: expected certificates, found another ({error})") from error
    either = verification.Criticality.AGNOSTIC
    authorities = (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, either, None)
        .may_be_present(x509.KeyUsage, either, _refuse_no_authority)
    )
    # The library's own rules are for the certificates of servers on the web, which have names of hosts.
    verifier = (
        verification.PolicyBuilder()
        .store(trusted)
        .time(signer.not_valid_before_utc.replace(tzinfo=None))
        .max_chain_depth(MAX_CERTIFICATES)
        .extension_policies(ca_policy=authorities, ee_policy=verification.ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        verifier.verify(signer, others)
    except (verification.VerificationError, x509.UnsupportedGeneralNameType) as error:
        expected = f"a certificate issued below one of the {store} of {TRUST_VARIABLE}"
        found = f"that of {escaped(signer.subject.rfc4514_string())}, issued by "
        raise RefusedSignatureError(expected, f"{found}{escaped(signer.issuer.rfc4514_string())} ({error})") from error


def _refuse_no_authority(_policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError(f"{escaped(certificate.subject.rfc4514_string())} may not issue certificates")
