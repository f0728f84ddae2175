"""The attestations beside a bundle: JSON Lines of signed statements, and which of them count.

By https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md: ``bundle.intoto.jsonl`` for the directory
``bundle``, each line a Sigstore bundle of its own, in any order. The file as a whole is not signed, so a line can be
taken away or added. So a line counts only if a trusted key or certificate signed it, and if it is about this bundle;
what has to be there is for the caller to decide. Nothing in a statement is parsed before it is known who signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.verification.signatures.signature import Signature
from thoth_models.verification.signatures.signers import RefusedSignatureError, verify_signature
from thoth_models_builder.trust.attestations.statement import SignedStatement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.verification.signatures.trust_store import TrustStore

ATTESTATIONS_SUFFIX: Final = ".intoto.jsonl"
"""Appended to the name of the bundle's directory."""

MAX_ATTESTATIONS: Final = 64 * 1024 * 1024
"""Maximum size of the file in bytes. A bill of materials takes about 700 of them for a file of the bundle."""

MAX_LINES: Final = 64
"""Maximum number of attestations in a file; each is a signature to verify."""

_MAX_LINE_ENDS: Final = 1024
"""Maximum number of lines in a file, with the empty ones."""


def attestations_path(root: Path) -> Path:
    """Return the path of the attestations of the bundle at ``root``, whether it exists or not."""
    return root.parent / f"{root.name}{ATTESTATIONS_SUFFIX}"


class Accepted(NamedTuple):
    """An attestation about the bundle by a trusted signer.

    Attributes:
        line: Its line in the file, from 1.
        signer: Who signed, in words.
        statement: The statement.
    """

    line: int
    signer: str
    statement: SignedStatement


class Refused(NamedTuple):
    """A line that does not count: its number from 1, what was expected of it, and what was found."""

    line: int
    expected: str
    found: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"line {self.line}: expected {self.expected}, found {self.found}"


def lines_of(data: bytes) -> dict[int, bytes]:
    """Return the lines of a file of attestations, by number from 1; empty ones are left out.

    Raises:
        FormatError: There are too many.
    """
    # Before they are divided: an empty line of one byte takes eight in memory.
    if (ends := data.count(b"\n")) > _MAX_LINE_ENDS:
        raise FormatError(f"expected at most {_MAX_LINE_ENDS} lines, found {ends}")
    lines = {number: line for number, line in enumerate(data.split(b"\n"), 1) if line.strip()}
    if len(lines) > MAX_LINES:
        raise FormatError(f"expected at most {MAX_LINES} attestations, found {len(lines)}")
    return lines


def unverified_statements(data: bytes) -> dict[bytes, SignedStatement]:
    """Return what a file of attestations states, by line. Who signed is not looked at.

    Raises:
        FormatError: There are too many lines, or one of them is not a signed statement.
    """
    return {line: SignedStatement.from_bytes(Signature.from_bytes(line).payload) for line in lines_of(data).values()}


def read_attestations(
    data: bytes, bundle_digest: Digest, store: TrustStore
) -> tuple[Sequence[Accepted], Sequence[Refused]]:
    """Return the attestations of a file that count for a bundle, and the other lines, each with the reason.

    Args:
        data: The bytes of the file.
        bundle_digest: The bundle that they have to be about.
        store: Whose signatures are accepted.

    Raises:
        FormatError: The file has too many lines.
        EnvironmentFault: The extra ``signing`` is not installed, or a key in the store cannot be used.
    """
    accepted: list[Accepted] = []
    refused: list[Refused] = []
    for number, line in lines_of(data).items():
        try:
            signature = Signature.from_bytes(line)
            signer = verify_signature(signature, store)
            statement = SignedStatement.from_bytes(signature.payload)
        except FormatError as error:
            refused.append(Refused(number, "a signed statement of in-toto", f"something else: {error}"))
        except RefusedSignatureError as error:
            refused.append(Refused(number, error.expected, error.found))
        else:
            if bundle_digest in statement.subjects:
                accepted.append(Accepted(number, signer, statement))
            else:
                refused.append(Refused(number, f"one about the bundle {bundle_digest}", f"one about {statement.about}"))
    return accepted, refused
