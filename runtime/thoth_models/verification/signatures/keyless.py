"""Verify a signature without a key of its own: by an identity, with a certificate of minutes and an entry in a log.

All of it is checked by the verifier of the library sigstore (https://docs.sigstore.dev), with the trust root that the
process was given: the certificate was issued below the root's authority, and valid when the log signed the time of the
entry; a log of certificates has seen it; the entry is of this certificate, signature and payload; the tree of the log
has it, and the log has signed that tree. What is here is the policy, which is whose certificates are accepted; that
authorities and logs count for the time that the root states for them, which the library does not look at; and that
nothing is connected to: its modules import HTTP clients, which verification does not use.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.hidden_characters import escaped
from thoth_models.errors import EnvironmentFault
from thoth_models.process.environment import TRUST_VARIABLE
from thoth_models.process.offline import network_guard
from thoth_models.verification.signatures.trust_store import Identity, RefusedSignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate
    from sigstore.models import Bundle
    from sigstore_models.common.v1 import TimeRange
    from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootDocument

    from thoth_models.verification.signatures.signature import Signature
    from thoth_models.verification.signatures.trust_store import TrustStore

_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MAX_REASON: Final = 300
"""Characters of the library's reason that are shown: it may repeat what it refuses."""

_MAX_NAMED: Final = 3
"""Trusted identities that a message names."""

# https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md: the issuer as a string of ASN.1, and before as it is.
_ISSUER: Final = "1.3.6.1.4.1.57264.1.8"
_ISSUER_BEFORE: Final = "1.3.6.1.4.1.57264.1.1"


def verify_keyless(signature: Signature, store: TrustStore) -> str:
    """Verify the signature of an identity, and return in words who made it. Nothing is connected to.

    Raises:
        RefusedSignatureError: It is not that of a trusted identity, or one of the checks failed.
        EnvironmentFault: The extra ``keyless`` is not installed, or the trust root cannot be used.
        OfflineViolation: Something tried to connect.
    """
    if not store.identities:
        raise RefusedSignatureError(
            f"a signature by one of the {store} of {TRUST_VARIABLE}",
            "one by an identity (keyless), and none is trusted",
        )
    try:
        import sigstore  # noqa: F401, PLC0415 - the extra
    except ImportError as error:
        what = "expected the extra `keyless` (pip install 'thoth-models[keyless]'), found no sigstore"
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {what}") from error
    with network_guard():
        return f"the identity {verified_identity(signature, store.trusted_root, store.identities)}"


def verified_identity(signature: Signature, trusted_root: bytes, trusted: Sequence[Identity] | None) -> Identity:
    """Verify the signature of an identity with the extra installed, and return the identity.

    Args:
        signature: The signature.
        trusted_root: The trust root.
        trusted: Identities that are accepted; None for any, to learn whose signature it is.

    Raises:
        RefusedSignatureError: It is not that of one of the identities, or one of the checks failed.
        EnvironmentFault: The trust root is malformed.
    """
    from sigstore.models import Bundle, TrustedRoot  # noqa: PLC0415
    from sigstore.verify import Verifier  # noqa: PLC0415

    root = _load_root(trusted_root)
    policy = _Policy(trusted)
    try:
        bundle = Bundle.from_json(signature.keyless)
        verifier = Verifier(trusted_root=TrustedRoot(_at(root, _times(signature, bundle))))
        kind, payload = verifier.verify_dsse(bundle, policy)
    except RefusedSignatureError:
        raise
    except Exception as error:
        # The library has no list of what malformed certificates, entries and proofs raise beside its own errors.
        said = escaped(" ".join((str(error) or type(error).__name__).split()))[:_MAX_REASON]
        raise RefusedSignatureError(
            "a signature by an identity that Sigstore's checks accept", f"one that they refuse: {said}"
        ) from error
    if (kind, payload) != (_PAYLOAD_TYPE, signature.payload):
        raise RefusedSignatureError("a signature of this payload by an identity", "one of another payload")
    if policy.found is None:
        raise RuntimeError("the library accepted a certificate without asking for whose it is")
    return policy.found


class _Policy:
    """Whose certificates are accepted; the verifier asks once it knows that a certificate is genuine."""

    def __init__(self, trusted: Sequence[Identity] | None) -> None:
        self._trusted = trusted
        self.found: Identity | None = None

    def verify(self, cert: Certificate) -> None:
        found = _identity_of(cert)
        if self._trusted is not None and not any(one.accepts(found) for one in self._trusted):
            some, others = self._trusted[:_MAX_NAMED], self._trusted[_MAX_NAMED:]
            expected = " or ".join([*map(str, some), *(["others"] if others else [])])
            raise RefusedSignatureError(f"a signature by {expected}, as {TRUST_VARIABLE} says", f"one by {found}")
        self.found = found


def _identity_of(certificate: Certificate) -> Identity:
    """Return whom a certificate was issued for.

    Raises:
        RefusedSignatureError: It does not state one name and the issuer.
    """
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat import asn1  # noqa: PLC0415

    by_oid = {extension.oid.dotted_string: extension.value for extension in certificate.extensions}
    issuer, before = by_oid.get(_ISSUER), by_oid.get(_ISSUER_BEFORE)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = [
        *alternatives.get_values_for_type(x509.RFC822Name),
        *alternatives.get_values_for_type(x509.UniformResourceIdentifier),
    ]
    if len(names) != 1 or len(alternatives) != 1:
        raise RefusedSignatureError("a certificate with one name, a URI or a mail address", f"one with {len(names)}")
    if isinstance(issuer, x509.UnrecognizedExtension):
        return Identity(name=names[0], issuer=asn1.decode_der(str, issuer.value))
    if isinstance(before, x509.UnrecognizedExtension):
        return Identity(name=names[0], issuer=before.value.decode())
    raise RefusedSignatureError("a certificate that states its issuer", "one that does not")


def _load_root(content: bytes) -> TrustedRootDocument:
    from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootDocument  # noqa: PLC0415

    try:
        return TrustedRootDocument.from_json(content)
    except ValueError as error:
        said = escaped(" ".join(str(error).split()))[:_MAX_REASON]
        raise EnvironmentFault(f"{TRUST_VARIABLE}: expected a trust root of Sigstore, found another: {said}") from error


def _times(signature: Signature, bundle: Bundle) -> list[dt.datetime]:
    """Return when something was signed, as log and timestamps state it; the verifier compares who signed that."""
    from sigstore_models.bundle.v1 import Bundle as BundleDocument  # noqa: PLC0415

    material = BundleDocument.from_json(signature.keyless).verification_material
    logged = [entry.integrated_time for entry in material.tlog_entries]
    data = bundle.verification_material.timestamp_verification_data
    stamped = [] if data is None else [response.tst_info.gen_time for response in data.rfc3161_timestamps]
    return [*(dt.datetime.fromtimestamp(seconds, dt.UTC) for seconds in logged if seconds), *stamped]


def _at(root: TrustedRootDocument, times: Sequence[dt.datetime]) -> TrustedRootDocument:
    """Return a trust root without the authorities and logs that did not count at one of the times."""

    def counted(period: TimeRange | None) -> bool:
        return period is None or all(period.start <= time and (not period.end or time <= period.end) for time in times)

    return root.model_copy(
        update={
            "certificate_authorities": [one for one in root.certificate_authorities if counted(one.valid_for)],
            "tlogs": [one for one in root.tlogs if counted(one.public_key.valid_for)],
            "ctlogs": [one for one in root.ctlogs if counted(one.public_key.valid_for)],
        }
    )
