"""Read the public keys, certificates and identities that are trusted, from outside of the bundle.

The library that reads such files, cryptography, takes longer to import for that than for all else that a signature by a
key needs. So PEM is decoded here, keys are recognised by what all keys of a curve have in common, and certificates are
left to the library: :mod:`thoth_models.verification.signatures.signers`. Identities are in JSON, beside the trust root
that their signatures are verified with: :mod:`thoth_models.verification.signatures.keyless`.
"""

from __future__ import annotations

import binascii
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.canonical_json import FormatError, parse_json
from thoth_models.bundle.digest import Digest
from thoth_models.errors import EnvironmentFault
from thoth_models.process.environment import TRUST_VARIABLE
from thoth_models.verification.entries import reason
from thoth_models.verification.regular_file import read_small

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from thoth_models.bundle.canonical_json import Node

MAX_TRUST_FILE: Final = 1024 * 1024
"""Maximum size of a file of keys and certificates in bytes; a key has some 200, the authorities of the web 300,000."""

MAX_TRUST_FILES: Final = 256
"""Maximum number of files in a directory of keys, certificates and identities."""

_WORD = re.compile(r"[!-~]+")
# Without the last slash, it would begin the names of other accounts, repositories and tags too.
_PREFIX = re.compile(r"[a-z][a-z0-9+.-]*://[^/]+/.*/")

_KEY, _CERTIFICATE = "PUBLIC KEY", "CERTIFICATE"
_BEGIN = b"-----BEGIN "
# Up to the next five dashes only, so that each byte is looked at once, however many blocks have no end.
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----\s((?:(?!-----).)*)\s-----END \1-----", re.DOTALL)
_FORM = "public keys or certificates as PEM"

TRUSTED_ROOT_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
"""https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto."""

MAX_IDENTITIES: Final = 256
"""Maximum number of identities in a file."""

# Public keys in DER (SubjectPublicKeyInfo of RFC 5480) of the three curves of the format: all is the same for each key
# of a curve but for the point, which has two coordinates.
_CURVES: Final = {
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"): ("secp256r1", 32),
    bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"): ("secp384r1", 48),
    bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600"): ("secp521r1", 66),
}
CURVES = "the curve P-256, P-384 or P-521"


class RefusedSignatureError(Exception):
    """A signature is not that of a trusted key, certificate or identity.

    Attributes:
        expected: What was expected, in words.
        found: What was found.
    """

    def __init__(self, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__(f"expected {expected}, found {found}")


class Identity(NamedTuple):
    """An identity that may sign without a key of its own, as Sigstore's certificates state it.

    Attributes:
        name: A URI or an address of electronic mail, such as the address of a workflow.
        issuer: The URL of the OpenID Connect provider that vouches for it.
        is_prefix: Whether each name that begins with ``name`` is meant, such as a workflow at any tag.
    """

    name: str
    issuer: str
    is_prefix: bool = False

    def accepts(self, other: Identity) -> bool:
        """Return whether a certificate of ``other`` is one of this identity."""
        is_same = other.name.startswith(self.name) if self.is_prefix else other.name == self.name
        return is_same and other.issuer == self.issuer

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.name}{'*' if self.is_prefix else ''} (issuer {self.issuer})"


class TrustStore(NamedTuple):
    """Whose signatures are accepted.

    Attributes:
        keys: Public keys in DER, by the fingerprint that signatures name them by.
        authorities: Certificates in DER.
        identities: Identities, whose signatures ``trusted_root`` verifies.
        trusted_root: A trusted_root.json of Sigstore: the authorities that issue certificates for identities, and the
            keys of the logs. Empty if there are no identities.
    """

    keys: Mapping[Digest, bytes]
    authorities: tuple[bytes, ...] = ()
    identities: tuple[Identity, ...] = ()
    trusted_root: bytes = b""

    def __str__(self) -> str:
        """Return what is in it, in words."""
        if self.identities:
            keys, certificates, identities = map(len, (self.keys, self.authorities, self.identities))
            return f"{keys} public keys, {certificates} certificates and {identities} identities"
        return f"{len(self.keys)} public keys and {len(self.authorities)} certificates"


def fingerprint(key: bytes) -> Digest:
    """Return the fingerprint of a public key in DER, as the format has it: the sha256 of its PEM."""
    text = binascii.b2a_base64(key, newline=False).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return Digest.of(f"-----BEGIN {_KEY}-----\n{lines}\n-----END {_KEY}-----\n".encode())


# --- reading ---


def read_trust_store(path: Path) -> TrustStore:
    """Read a file with public keys and certificates, or all files of a directory but those with a dot first.

    A directory may also have identities and the trust root that they need, each as a file of JSON. Symlinks are
    followed, because volumes of Kubernetes consist of them.

    Raises:
        EnvironmentFault: It cannot be read, has something else in it, or nothing; or identities and trust root are not
            there together.
    """
    keys: dict[Digest, bytes] = {}
    authorities: list[bytes] = []
    identities: list[Identity] = []
    roots: dict[Path, bytes] = {}
    for file, content in read_trust_files(path).items():
        if content.lstrip()[:1] == b"{":
            found = _read_json(file, content)
            identities += found or []
            if found is None:
                roots[file] = content
            continue
        for label, data in _read_pem(file, content):
            if label == _KEY:
                keys[fingerprint(data)] = data
            else:
                authorities.append(data)
    if len(roots) > 1:
        what = f"expected one trust root, found {' and '.join(str(file) for file in roots)}"
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {what}")
    if bool(roots) != bool(identities):
        found_alone = "a trust root alone" if roots else "identities alone"
        what = f"expected identities and a trust root (trusted_root.json) in one directory, found {found_alone}"
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {what}")
    return TrustStore(
        keys=keys,
        authorities=tuple(authorities),
        identities=tuple(identities),
        trusted_root=b"".join(roots.values()),
    )


def read_trust_files(path: Path) -> dict[Path, bytes]:
    """Return the content of a file, or of the files of a directory but those with a dot first.

    Raises:
        EnvironmentFault: One cannot be read or is too large, or there are none or too many.
    """
    return {file: _read(file) for file in _files(path)}


def _read_pem(path: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the keys and certificates in a file, with what each is."""
    blocks = list(_BLOCK.finditer(content))
    if not blocks:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: expected {_FORM}, found none")
    if (begun := content.count(_BEGIN)) != len(blocks):
        raise EnvironmentFault(
            f"{TRUST_VARIABLE}: {path}: expected {_FORM}, found {begun - len(blocks)} without an end"
        )
    for block in blocks:
        label, data = block[1].decode(), _decoded(path, block[2])
        if label not in (_KEY, _CERTIFICATE):
            raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: expected {_FORM}, found {label}")
        if label == _KEY and point_of(data) is None:
            raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: expected keys of {CURVES}, found another")
        yield label, data


def _read_json(path: Path, content: bytes) -> list[Identity] | None:
    """Return the identities in a file; None if it is a trust root, which is left to the library."""
    try:
        root = parse_json(content)
        if "mediaType" in root:
            root["mediaType"].one_of(TRUSTED_ROOT_TYPE)
            return None
        listed = root.members("identities")["identities"]
        if not (nodes := listed.items(maximum=MAX_IDENTITIES)):
            raise listed.wrong("at least one identity")
        return [_identity(node) for node in nodes]
    except FormatError as error:
        raise EnvironmentFault(f"{TRUST_VARIABLE}: {path}: {error}") from error


def _identity(node: Node) -> Identity:
    is_prefix = "identity_prefix" in node
    key = "identity_prefix" if is_prefix else "identity"
    members = node.members(key, "issuer")
    texts = {name: member.matching(_WORD, "a text without spaces") for name, member in members.items()}
    if is_prefix and not _PREFIX.fullmatch(texts[key]):
        raise members[key].wrong("a URI with a path that ends with a slash, such as …/release.yml@refs/tags/")
    return Identity(name=texts[key], issuer=texts["issuer"], is_prefix=is_prefix)


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
