"""Read the public keys and certificates that are trusted, from outside of the bundle.

The library that reads such files, cryptography, takes longer to import for that than for all else that a signature by a
key needs. So PEM is decoded here, keys are recognised by what all keys of a curve have in common, and certificates are
left to the library: :mod:`thoth_models.verification.signatures.signers`.
"""

from __future__ import annotations

import binascii
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.errors import EnvironmentFault
from thoth_models.process.environment import TRUST_VARIABLE
from thoth_models.verification.entries import reason
from thoth_models.verification.regular_file import read_small

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_TRUST_FILE: Final = 1024 * 1024
"""Maximum size of a file of keys and certificates in bytes; a key has some 200, the authorities of the web 300,000."""

MAX_TRUST_FILES: Final = 256
"""Maximum number of files in a directory of keys and certificates."""

_KEY, _CERTIFICATE = "PUBLIC KEY", "CERTIFICATE"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----\s(.*?)\s-----END \1-----", re.DOTALL)
_FORM = "public keys or certificates as PEM"

# Public keys in DER (SubjectPublicKeyInfo of RFC 5480) of the three curves of the format: all is the same for each key
# of a curve but for the point, which has two coordinates.
_CURVES: Final = {
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"): ("secp256r1", 32),
    bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"): ("secp384r1", 48),
    bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600"): ("secp521r1", 66),
}
CURVES = "the curve P-256, P-384 or P-521"


class TrustStore(NamedTuple):
    """Whose signatures are accepted.

    Attributes:
        keys: Public keys in DER, by the fingerprint that signatures name them by.
        authorities: Certificates in DER.
    """

    keys: Mapping[Digest, bytes]
    authorities: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        """Return what is in it, in words."""
        return f"{len(self.keys)} public keys and {len(self.authorities)} certificates"


def fingerprint(key: bytes) -> Digest:
    """Return the fingerprint of a public key in DER, as the format has it: the sha256 of its PEM."""
    text = binascii.b2a_base64(key, newline=False).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return Digest.of(f"-----BEGIN {_KEY}-----\n{lines}\n-----END {_KEY}-----\n".encode())


# --- reading ---


def read_trust_store(path: Path) -> TrustStore:
    """Read a file with public keys and certificates, or all files of a directory but those with a dot first.

    Symlinks are followed, because volumes of Kubernetes consist of them.

    Raises:
        EnvironmentFault: It cannot be read, has something else in it, or nothing.
    """
    keys: dict[Digest, bytes] = {}
    authorities: list[bytes] = []
    for file in _files(path):
        blocks = list(_BLOCK.finditer(_read(file)))
        if not blocks:
            raise EnvironmentFault(f"{TRUST_VARIABLE}: {file}: expected {_FORM}, found none")
        for block in blocks:
            label, data = block[1].decode(), _decoded(file, block[2])
            if label == _KEY:
                if point_of(data) is None:
                    raise EnvironmentFault(f"{TRUST_VARIABLE}: {file}: expected keys of {CURVES}, found another")
                keys[fingerprint(data)] = data
            elif label == _CERTIFICATE:
                authorities.append(data)
            else:
                raise EnvironmentFault(f"{TRUST_VARIABLE}: {file}: expected {_FORM}, found {label}")
    return TrustStore(keys=keys, authorities=tuple(authorities))


def _files(path: Path) -> list[Path]:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        found = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        what = f"expected a readable file or directory, found: {reason(error)}"
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: {what}") from error
    if not 1 <= len(found) <= MAX_TRUST_FILES:
        what = f"expected 1 to {MAX_TRUST_FILES} files, found {len(found)}"
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: {what}")
    return found


def _read(path: Path) -> bytes:
    try:
        return read_small(path, MAX_TRUST_FILE)
    except OSError as error:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: expected a readable file, found: {reason(error)}") from error
    except FormatError as error:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: {error}") from error


def _decoded(path: Path, text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(text.split()), strict_mode=True)
    except binascii.Error as error:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: expected {_FORM}, found one that is not base64") from error


def point_of(key: bytes) -> tuple[str, bytes] | None:
    """Return the curve of a public key in DER, and its point in uncompressed form; None for any other key."""
    for prefix, (curve, size) in _CURVES.items():
        if key.startswith(prefix) and len(key) == len(prefix) + 1 + 2 * size:
            return curve, key[len(prefix) :]
    return None
