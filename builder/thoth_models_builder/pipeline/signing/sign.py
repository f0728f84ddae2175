"""``sign``: write the signature beside a bundle, over the digests that its manifest states; no file of it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import MANIFEST_NAME
from thoth_models.verification.regular_file import read_small
from thoth_models.verification.signatures.signature import MAX_SIGNATURE, Signature, Statement
from thoth_models.verification.signatures.signature_file import signature_path
from thoth_models.verification.verify import open_bundle
from thoth_models_builder.errors import OutputError, UsageError
from thoth_models_builder.reports.results import SignReport
from thoth_models_builder.storage.files import remove_leftovers, replace_file, writing
from thoth_models_builder.trust import keyless_signing, signing
from thoth_models_builder.trust.keyless_signing import KeylessSignature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.errors import BuildError
    from thoth_models_builder.trust.signing import SignableStatement, Signed

T = TypeVar("T")

PASSWORD_VARIABLE = signing.PASSWORD_VARIABLE
SIGNING_DEADLINE = keyless_signing.SIGNING_DEADLINE

IDENTITIES_NAME: Final = "identities.json"
TRUSTED_ROOT_NAME: Final = "trusted_root.json"
"""Names of the files that ``--write-trust`` writes; the runtime reads them under any name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeylessOptions:
    """How ``sign`` signs as an identity.

    Attributes:
        token: A file with the identity token; None for that of the CI system.
        trust_config: The services and the trust root of a Sigstore instance; None for the public one.
        write_trust: A directory for the identity and the trust root, for a service that shall trust them; or None.
    """

    token: Path | None = None
    trust_config: Path | None = None
    write_trust: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SignerOptions:
    """What is signed with: a key, or an identity without one.

    Attributes:
        key: The private key; None to sign as an identity.
        certificate: The certificate of the key, or None to sign with the key alone.
        chain: The certificates between that one and an authority.
        keyless: How an identity signs; None to sign with a key.
    """

    key: Path | None = None
    certificate: Path | None = None
    chain: Sequence[Path] = ()
    keyless: KeylessOptions | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SignOptions(SignerOptions):
    """Options of ``sign``.

    Attributes:
        bundle: The bundle directory.
        output: Where to write the signature; None for the file beside the bundle that the runtime looks for.
    """

    bundle: Path
    output: Path | None = None


def sign(options: SignOptions) -> SignReport:
    """Sign a bundle, which stays as it is.

    Raises:
        BundleError: The bundle is missing, or its manifest is malformed or changed.
        UsageError: A key, certificate, token or option cannot be used, or something would be written into the bundle.
        OutputError: The signature cannot be written, or another file is in its place.
        SigningServiceError: A service failed that an identity signs with.
    """
    bundle = open_bundle(options.bundle)
    path = options.output or signature_path(bundle.root)
    place = outside(bundle.root, path, "--signature")
    previous = _previous(place)
    trust = None if options.keyless is None else options.keyless.write_trust
    if trust is not None:
        _refuse_place_of_trust(trust, bundle.root)
    signed = sign_statement(Statement.of(bundle.manifest), options)
    data = signed.signature.to_bytes()
    if len(data) > MAX_SIGNATURE:
        raise OutputError(f"{path}: expected at most {MAX_SIGNATURE} bytes, found {len(data)}")
    write_beside(path, data, previous)
    if trust is not None and isinstance(signed, KeylessSignature):
        _write_trust(trust, signed)
    return SignReport(
        output=str(path),
        bytes=len(data),
        is_unchanged=data == previous,
        bundle_digest=bundle.bundle_digest.hex,
        set_digest=Digest.of(bundle.manifest.checksums()).hex,
        files=len(bundle.manifest.files) + 2,
        signed_by=signed.signer,
    )


def sign_statement(statement: SignableStatement, options: SignerOptions) -> Signed | KeylessSignature:
    """Sign a statement with a key, or as an identity.

    An entry of a log cannot be taken back, so callers refuse everything else before.

    Raises:
        UsageError: A key, certificate, token or option cannot be used.
        SigningServiceError: A service failed that an identity signs with.
    """
    keyless = options.keyless
    if keyless is not None:
        if options.key is not None or options.certificate is not None or options.chain:
            raise UsageError("expected no key and no certificate beside --keyless, found one")
        return keyless_signing.sign_keyless(statement, keyless.token, keyless.trust_config)
    if options.key is None:
        raise UsageError("expected a key or an identity to sign with, found neither")
    return signing.sign(statement, options.key, options.certificate, options.chain)


def _refuse_place_of_trust(place: Path, root: Path) -> None:
    if place.resolve().is_relative_to(root):
        raise UsageError(f"expected --write-trust outside of the bundle {root}, found {place}")
    for name in (IDENTITIES_NAME, TRUSTED_ROOT_NAME):
        if (place / name).exists():
            raise OutputError(f"{place / name}: expected no file, found one; what is trusted is not replaced")


def _write_trust(place: Path, made: KeylessSignature) -> None:
    """Write what verifies a signature: who made it, and the trust root."""
    identity = {"identity": made.identity.name, "issuer": made.identity.issuer}
    files = {
        IDENTITIES_NAME: json.dumps({"identities": [identity]}, indent=2).encode() + b"\n",
        TRUSTED_ROOT_NAME: made.trusted_root + b"\n",
    }
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            replace_file(place / name, content)


def read_signature(bundle: VerificationReport) -> bytes | None:
    """Return the signature beside a bundle, which must be about this bundle; None if there is none.

    Who signed is not looked at: that is for those to decide who use the bundle.

    Raises:
        UsageError: Another file is there, the signature is about another bundle, or it cannot be read.
    """
    path = signature_path(bundle.root)
    found = read_beside(
        path,
        lambda data: Statement.from_bytes(Signature.from_bytes(data).payload),
        expected="the signature of the bundle",
        kind=UsageError,
    )
    if found is None:
        return None
    data, statement = found
    if statement.files != Statement.of(bundle.manifest).files:
        signed = statement.files.get(MANIFEST_NAME)
        raise UsageError(f"{path}: expected a signature of the bundle {bundle.bundle_digest}, found one of {signed}")
    return data


def _previous(path: Path) -> bytes | None:
    """Return the signature that is replaced; a file that is none stays.

    Raises:
        OutputError: Another file is in the place of the signature, or it cannot be read.
    """
    found = read_beside(path, Signature.from_bytes, expected="an earlier signature", kind=OutputError)
    return None if found is None else found[0]


def outside(root: Path, path: Path, option: str) -> Path:
    """Return the place of a file that is written beside the bundle at ``root``, with symlinks followed.

    Raises:
        UsageError: It is in the bundle; ``option`` is what named it.
    """
    place = path.resolve()
    if place.is_relative_to(root):
        raise UsageError(f"expected {option} outside of the bundle {root}, found {path}")
    return place


def write_beside(path: Path, data: bytes, previous: bytes | None) -> None:
    """Write a file beside a bundle, or replace ``previous``, unless that has the same bytes.

    Raises:
        OutputError: It cannot be written.
    """
    place = path.resolve()  # a symlink stays
    with writing(path):
        if data != previous:
            replace_file(place, data)
        else:
            remove_leftovers(place)


def read_beside(
    path: Path, parse: Callable[[bytes], T], *, expected: str, kind: type[BuildError], maximum: int = MAX_SIGNATURE
) -> tuple[bytes, T] | None:
    """Return the bytes of a file beside a bundle and what they mean; None if it does not exist.

    Raises:
        BuildError: It is another file, or cannot be read; of ``kind``.
    """
    try:
        data = read_small(path, maximum)
        return data, parse(data)
    except FileNotFoundError:
        return None
    except FormatError as error:
        raise kind(f"{path}: expected {expected} or no file, found another: {error}") from error
    except OSError as error:
        raise kind(f"{path}: expected a readable file, found: {error.strerror or error}") from error
