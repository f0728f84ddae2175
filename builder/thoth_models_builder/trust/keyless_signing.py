"""Sign the statement about a bundle without a key: with a certificate for an identity of OpenID Connect, and a log.

The library sigstore asks the services of a Sigstore instance: the authority for a certificate of minutes, by a token
that says who this process is; timestamp authorities, where the instance has some; and the log for an entry. The entry
is public where the instance is, and stays: it has the identity, and the digest of the statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.hidden_characters import escaped
from thoth_models.errors import LoadTimeout
from thoth_models.process.task import Task
from thoth_models.verification.signatures.keyless import verified_identity
from thoth_models.verification.signatures.signature import Signature
from thoth_models.verification.signatures.trust_store import RefusedSignatureError
from thoth_models_builder.errors import SigningServiceError, UsageError
from thoth_models_builder.net.redact import without_secrets
from thoth_models_builder.trust.signing import read_input

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.verification.signatures.trust_store import Identity
    from thoth_models_builder.trust.signing import SignableStatement

SIGNING_DEADLINE: Final = 120.0
"""Seconds for all services together; the clients of the library have no deadline of their own for most of them."""

_MAX_REASON: Final = 500


class KeylessSignature(NamedTuple):
    """A signature that the runtime's own code has verified, and what verifies it.

    Attributes:
        signature: The signature.
        identity: Who signed.
        trusted_root: The trust root that verifies it, as JSON.
    """

    signature: Signature
    identity: Identity
    trusted_root: bytes

    @property
    def signer(self) -> str:
        """Who signed, in words."""
        return f"the identity {self.identity}"


def sign_keyless(
    statement: SignableStatement,
    token: Path | None = None,
    trust_config: Path | None = None,
    *,
    deadline: float = SIGNING_DEADLINE,
) -> KeylessSignature:
    """Sign a statement as an identity.

    Args:
        statement: What is signed.
        token: A file with the identity token; None for that of the CI system that this process runs in.
        trust_config: A file with the services and the trust root of a Sigstore instance (ClientTrustConfig); None for
            the public instance, whose current ones are fetched.
        deadline: Seconds for all of it.

    Raises:
        UsageError: A file cannot be used, there is no token, or the extra ``keyless`` is not installed.
        SigningServiceError: A service failed, refused the request or did not answer in time; or its signature would be
            refused.
    """
    try:
        import sigstore  # noqa: F401, PLC0415 - the extra
    except ImportError as error:
        raise UsageError(
            "expected the extra `keyless` (pip install 'thoth-models-builder[keyless]'), found no sigstore"
        ) from error
    task = _Signing(
        statement,
        None if token is None else _read(token, "an identity token"),
        None if trust_config is None else _read(trust_config, "a trust configuration"),
        deadline,
    )
    try:
        return task.result()
    except LoadTimeout as error:
        raise SigningServiceError(f"expected a signature within {deadline:g} s, but was still {task.stage}") from error


class _Signing(Task[KeylessSignature]):
    def __init__(
        self, statement: SignableStatement, token: str | None, trust_config: str | None, deadline: float
    ) -> None:
        super().__init__("signing", deadline)
        self._statement = statement
        self._token = token
        self._trust_config = trust_config

    def do(self) -> KeylessSignature:
        try:
            return self._sign()
        except UsageError:
            raise
        except RefusedSignatureError as error:
            raise SigningServiceError(f"the services made a signature that would be refused: {error}") from error
        except Exception as error:  # noqa: BLE001 - those of the library, of its client, and what malformed answers cause
            raise SigningServiceError(f"{self.stage}: {_reason(error, self._token or '')}") from None

    def _sign(self) -> KeylessSignature:
        from sigstore.dsse import Statement as DsseStatement  # noqa: PLC0415
        from sigstore.models import ClientTrustConfig  # noqa: PLC0415
        from sigstore.oidc import IdentityToken, detect_credential  # noqa: PLC0415
        from sigstore.sign import SigningContext  # noqa: PLC0415

        self.stage = "asking the CI system for an identity token"
        self._token = self._token or detect_credential()
        if self._token is None:
            raise UsageError(
                "expected --identity-token, or a CI system that gives a token (GitHub Actions with the permission "
                "`id-token: write`, GitLab with SIGSTORE_ID_TOKEN), found neither"
            )
        self.stage = "reading the identity token"
        token = IdentityToken(self._token)
        if self._trust_config is None:
            self.stage = "fetching the trust root of the public Sigstore instance"
            config = ClientTrustConfig.production()
        else:
            self.stage = "reading the trust configuration"
            config = ClientTrustConfig.from_json(self._trust_config)
        context = SigningContext.from_trust_config(config)
        self.stage = f"asking for a certificate for {escaped(token.identity)}"
        with context.signer(token) as signer:
            self.stage = "asking for an entry of the log"
            made = signer.sign_dsse(DsseStatement(self._statement.to_bytes()))
        self.stage = "verifying the signature"
        signature = Signature.from_bytes(made.to_json().encode())
        # As a process that trusts this instance, and whom the certificate names.
        root = config.trusted_root._inner.to_json().encode()  # noqa: SLF001 - the library has no other way to write it
        return KeylessSignature(signature, verified_identity(signature, root, None), root)


def _reason(error: Exception, token: str) -> str:
    """Return what a library said, without the token; its own errors often leave that to their cause."""
    said = [str(one) for one in (error, error.__cause__) if one is not None and str(one)]
    text = " ".join(" - ".join(said or [type(error).__name__]).split())
    return escaped(without_secrets(text, *([token] if token else [])))[:_MAX_REASON]


def _read(path: Path, expected: str) -> str:
    try:
        return read_input(path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected {expected}, found another file") from None
