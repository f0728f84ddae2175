"""A signature of a bundle in the OpenSSF model-signing format: what is signed, and the file that it is kept in.

Pure: bytes in, values out. The file is a Sigstore bundle
(https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto). It has a DSSE envelope
(https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md), and that an in-toto statement
(https://github.com/in-toto/attestation/tree/main/spec/v1) with the sha256 of every file of the bundle,
``manifest.json`` and ``SHA256SUMS`` included. The predicate is that of model-signing 1.0 and later
(https://github.com/sigstore/model-transparency).

The file lies beside the bundle, not in it: ``bundle.sig`` for the directory ``bundle``. So the bundle digest does not
depend on who signed.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from thoth_models.bundle.canonical_json import FormatError, canonical_json, parse_json, safe_path
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import CHECKSUMS_NAME, MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.bundle.canonical_json import Node
    from thoth_models.bundle.manifest import Manifest

SIGNATURE_SUFFIX: Final = ".sig"
"""Appended to the name of the bundle's directory."""

MAX_SIGNATURE: Final = 8 * 1024 * 1024
"""Maximum size of a signature in bytes. A file of the bundle takes about 300 of them, so that is 25,000 files."""

MAX_CERTIFICATES: Final = 8
"""Maximum length of a certificate chain; a real one has two to four."""

_MAX_VALUES: Final = 4096
"""Maximum number of values in a signature; a real one has some ten, or a hundred with the proof of a log."""

_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
_METHOD: Final = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}


class Statement(NamedTuple):
    """What is signed.

    Attributes:
        name: Name of the bundle, for people; it is not compared.
        files: sha256 of each file, by path below the bundle root.
    """

    name: str
    files: Mapping[str, Digest]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return the statement about a bundle; every digest in it follows from the manifest, so no file is read."""
        files = {path: content.sha256 for path, content in manifest.files.items()}
        files[MANIFEST_NAME] = Digest.of(manifest.to_bytes())
        files[CHECKSUMS_NAME] = Digest.of(manifest.checksums())
        return cls(name=manifest.name, files=files)

    def to_bytes(self) -> bytes:
        """Return the JSON, which is the same for the same bundle, wherever it lies."""
        # The order of the reference implementation, which compares paths part by part.
        ordered = sorted(self.files.items(), key=lambda item: item[0].split("/"))
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": self.name, "digest": {"sha256": _digest_of_all(dict(ordered)).hex}}],
                "predicateType": _PREDICATE_TYPE,
                "predicate": {
                    "serialization": _METHOD,
                    "resources": [
                        {"name": path, "algorithm": "sha256", "digest": digest.hex} for path, digest in ordered
                    ],
                },
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the JSON, also as the reference implementation writes it.

        Raises:
            FormatError: It is not a statement about files with a sha256 each.
        """
        root = parse_json(data)
        root["_type"].one_of(STATEMENT_TYPE)
        root["predicateType"].one_of(_PREDICATE_TYPE)
        (subject,) = root["subject"].items(maximum=1) or [root["subject"]]
        predicate = root["predicate"]
        for key in ("method", "hash_type"):
            predicate["serialization"][key].one_of(_METHOD[key])
        files: dict[str, Digest] = {}
        for resource in predicate["resources"].items():
            resource["algorithm"].one_of("sha256")
            path = safe_path(resource["name"])
            if path in files:
                raise resource["name"].wrong("each path once")
            files[path] = resource["digest"].digest()
        if subject["digest"]["sha256"].digest() != _digest_of_all(files):
            raise subject["digest"]["sha256"].wrong("the digest of the digests below")
        return cls(name=subject["name"].text(), files=files)


def _digest_of_all(files: Mapping[str, Digest]) -> Digest:
    """Return the digest of the digests, which the format has as that of the whole."""
    return Digest(hashlib.sha256(b"".join(bytes.fromhex(digest.hex) for digest in files.values())).hexdigest())


class Signature(NamedTuple):
    """A signed statement, and whose signature it claims to be. Nothing in it may be believed before it was verified.

    Attributes:
        payload: The bytes of the statement.
        signature: The signature of :meth:`signed_bytes`: ECDSA in DER.
        key: Fingerprint of the public key that verifies it: the sha256 of the key as PEM. None if it is not stated.
        certificates: Certificates in DER: that of the signer, then those between it and an authority. Empty if a key
            without a certificate signed.
        keyless: The whole file, if it has a certificate that was issued for an identity, and the entry of a log; the
            library that verifies these reads it again. Empty otherwise.
    """

    payload: bytes
    signature: bytes
    key: Digest | None = None
    certificates: tuple[bytes, ...] = ()
    keyless: bytes = b""

    def signed_bytes(self) -> bytes:
        """Return what was signed: the payload with its type and length, the PAE of DSSE."""
        return pre_authentication(self.payload)

    def to_bytes(self) -> bytes:
        """Return the JSON of the file."""
        if self.keyless:
            return self.keyless
        material: dict[str, object] = {"tlogEntries": []}
        if self.certificates:
            chain = [{"rawBytes": _base64(certificate)} for certificate in self.certificates]
            material["x509CertificateChain"] = {"certificates": chain}
        else:
            material["publicKey"] = {"hint": "" if self.key is None else self.key.hex}
        return canonical_json(
            {
                "mediaType": _MEDIA_TYPE,
                "verificationMaterial": material,
                "dsseEnvelope": {
                    "payload": _base64(self.payload),
                    "payloadType": _PAYLOAD_TYPE,
                    "signatures": [{"sig": _base64(self.signature), "keyid": ""}],
                },
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the JSON of the file; the payload is not parsed.

        Raises:
            FormatError: It is not a Sigstore bundle with one signature by a key, a certificate or an identity.
        """
        # Before it is parsed: a value of three bytes, such as an empty object, takes twenty times as many in memory.
        if (commas := data.count(b",")) >= _MAX_VALUES:
            raise FormatError(f"expected a signature of at most {_MAX_VALUES} values, found {commas} commas")
        root = parse_json(data)
        root["mediaType"].one_of(_MEDIA_TYPE)
        envelope = root["dsseEnvelope"]
        envelope["payloadType"].one_of(_PAYLOAD_TYPE)
        (signature,) = envelope["signatures"].items(maximum=1) or [envelope["signatures"]]
        material = root["verificationMaterial"]
        is_keyless = "certificate" in material
        key, certificates = (None, ()) if is_keyless else _read_material(material)
        return cls(
            payload=_bytes(envelope["payload"]),
            signature=_bytes(signature["sig"]),
            key=key,
            certificates=certificates,
            keyless=data if is_keyless else b"",
        )


def pre_authentication(payload: bytes) -> bytes:
    """Return the bytes that are signed for a payload; the length and the type keep it from being read as another."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _read_material(node: Node) -> tuple[Digest | None, tuple[bytes, ...]]:
    if "publicKey" in node:
        key = node["publicKey"]
        return (key["hint"].digest() if "hint" in key and key["hint"].value else None), ()
    if "x509CertificateChain" in node:
        certificates = node["x509CertificateChain"]["certificates"]
        found = [_bytes(item["rawBytes"]) for item in certificates.items(maximum=MAX_CERTIFICATES)]
        if not found:
            raise certificates.wrong("at least one certificate")
        return None, tuple(found)
    raise node.wrong("a signature by a key, with a certificate chain or by an identity", found="another")


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _bytes(node: Node) -> bytes:
    try:
        return binascii.a2b_base64(node.text(), strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is a text that is not ASCII
        raise node.wrong("base64") from None
