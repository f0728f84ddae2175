"""``sign``: write the signature beside a bundle, over the digests that its manifest states; no file of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import MANIFEST_NAME
from thoth_models.verification.regular_file import read_small
from thoth_models.verification.signatures.signature import MAX_SIGNATURE, Signature, Statement
from thoth_models.verification.signatures.signature_file import signature_path
from thoth_models.verification.verify import open_bundle
from thoth_models_builder.errors import OutputError, UsageError
from thoth_models_builder.reports.results import SignReport
from thoth_models_builder.storage.files import remove_leftovers, replace_file
from thoth_models_builder.trust import signing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.errors import BuildError

T = TypeVar("T")

PASSWORD_VARIABLE = signing.PASSWORD_VARIABLE


@dataclass(frozen=True, kw_only=True, slots=True)
class SignOptions:
    """Options of ``sign``.

    Attributes:
        bundle: The bundle directory.
        key: The private key.
        certificate: Its certificate, or None to sign with the key alone.
        chain: The certificates between that one and an authority.
        output: Where to write the signature; None for the file beside the bundle that the runtime looks for.
    """

    bundle: Path
    key: Path
    certificate: Path | None = None
    chain: Sequence[Path] = ()
    output: Path | None = None


def sign(options: SignOptions) -> SignReport:
    """Sign a bundle, which stays as it is.

    Raises:
        BundleError: The bundle is missing, or its manifest is malformed or changed.
        UsageError: A key or certificate cannot be used, or the signature would be in the bundle.
        OutputError: The signature cannot be written, or another file is in its place.
    """
    bundle = open_bundle(options.bundle)
    path = options.output or signature_path(bundle.root)
    place = path.resolve()
    if place.is_relative_to(bundle.root):
        raise UsageError(f"expected --signature outside of the bundle {bundle.root}, found {path}")
    previous = _previous(place)
    signed = signing.sign(Statement.of(bundle.manifest), options.key, options.certificate, options.chain)
    data = signed.signature.to_bytes()
    if len(data) > MAX_SIGNATURE:
        raise OutputError(f"{path}: expected at most {MAX_SIGNATURE} bytes, found {len(data)}")
    try:
        if data != previous:
            replace_file(place, data)  # a symlink stays
        else:
            remove_leftovers(place)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return SignReport(
        output=str(path),
        bytes=len(data),
        is_unchanged=data == previous,
        bundle_digest=bundle.bundle_digest.hex,
        set_digest=Digest.of(bundle.manifest.checksums()).hex,
        files=len(bundle.manifest.files) + 2,
        signed_by=signed.signer,
    )


def read_signature(bundle: VerificationReport) -> bytes | None:
    """Return the signature beside a bundle, which must be about this bundle; None if there is none.

    Who signed is not looked at: that is for those to decide who use the bundle.

    Raises:
        UsageError: Another file is there, the signature is about another bundle, or it cannot be read.
    """
    path = signature_path(bundle.root)
    found = _read(
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
    found = _read(path, Signature.from_bytes, expected="an earlier signature", kind=OutputError)
    return None if found is None else found[0]


def _read(path: Path, parse: Callable[[bytes], T], *, expected: str, kind: type[BuildError]) -> tuple[bytes, T] | None:
    """Return the bytes of a file and what they mean; None if it does not exist. All else is an error of ``kind``."""
    try:
        data = read_small(path, MAX_SIGNATURE)
        return data, parse(data)
    except FileNotFoundError:
        return None
    except FormatError as error:
        raise kind(f"{path}: expected {expected} or no file, found another: {error}") from error
    except OSError as error:
        raise kind(f"{path}: expected a readable file, found: {error.strerror or error}") from error
