"""A Sigstore instance of the tests: an authority, logs of certificates and of signatures, and tokens for identities.

All of it follows the public services: RFC 6962 for the logs, Fulcio's profile of certificates, and Rekor's entries of
the kind ``dsse``. :meth:`Sigstore.bundle` makes a signature with them, and an attacker's by its arguments;
:func:`serve` speaks as much of the services' HTTP as clients use.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import json
import struct
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.signing import KEY_USAGES
from thoth_models.verification.signatures.signature import pre_authentication

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY: Final = "https://github.com/acme/models/.github/workflows/release.yml@refs/heads/main"
ISSUER: Final = "https://token.actions.githubusercontent.com"

_ISSUER_OID, _ISSUER_OID_BEFORE = "1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1"
_SCT_OID = "1.3.6.1.4.1.11129.2.4.2"
_YEAR: Final = dt.timedelta(days=365)
_SHA256_ECDSA = b"\x04\x03"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _der(tag: int, data: bytes) -> bytes:
    length = bytes([len(data)]) if len(data) < 128 else b"\x82" + struct.pack("!H", len(data))
    return bytes([tag]) + length + data


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in KEY_USAGES})


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _tree(leaves: list[bytes]) -> bytes:
    """Return the root of a tree of hashes, by section 2.1 of RFC 6962."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return _node(_tree(leaves[:middle]), _tree(leaves[middle:]))


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return the proof that a leaf is in a tree, by section 2.1.1 of RFC 6962."""
    if len(leaves) == 1:
        return []
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < middle:
        return [*_path(index, leaves[:middle]), _tree(leaves[middle:])]
    return [*_path(index - middle, leaves[middle:]), _tree(leaves[:middle])]


_CLOCK: Final = """
[tsa]
default_tsa = clock
[clock]
serial = serial
default_policy = 1.2.3.4
signer_digest = sha256
digests = sha256
ess_cert_id_alg = sha256
"""


class Authority:
    """A root, and below it an authority that issues certificates for minutes, and one that signs the time."""

    def __init__(self, begin: dt.datetime) -> None:
        self.root_key, self.key, self.clock_key = _new_key(), _new_key(), _new_key()
        self._begin = begin
        issues = (x509.BasicConstraints(ca=True, path_length=None), _usage("key_cert_sign", "crl_sign"))
        stamps = (_usage("digital_signature"), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]))
        self.root = self._certificate("root", self.root_key, *issues)
        self.issuing = self._certificate("issuing", self.key, *issues)
        self.clock = self._certificate("clock", self.clock_key, *stamps)

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, *critical: x509.ExtensionType
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._begin)
            .not_valid_after(self._begin + dt.timedelta(days=3650))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
        )
        for extension in critical:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.root_key, hashes.SHA256())

    def stamp(self, query: bytes) -> bytes:
        """Answer a query of RFC 3161 about the time, which OpenSSL has a command for."""
        with tempfile.TemporaryDirectory() as place:
            pem = Encoding.PEM
            files = {
                "query": query,
                "key": self.clock_key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()),
                "certificate": self.clock.public_bytes(pem),
                "settings": _CLOCK.encode(),
            }
            for name, content in files.items():
                Path(place, name).write_bytes(content)
            stated = ("-inkey", "key", "-signer", "certificate", "-config", "settings")
            command = ("openssl", "ts", "-reply", "-queryfile", "query", *stated, "-out", "answer")
            subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=60)
            return Path(place, "answer").read_bytes()


@dataclass
class Sigstore:
    """An instance with keys of its own.

    Attributes:
        begin: When its authority and logs began; a year before it was made.
        entries: Bodies of the entries of its log; two are there from the start.
        requests: Paths that were asked for by HTTP.
        is_silent: Whether requests are accepted and never answered.
    """

    begin: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC).replace(microsecond=0) - _YEAR)
    entries: list[bytes] = field(default_factory=lambda: [b"the first", b"the second"])
    requests: list[str] = field(default_factory=list)
    is_silent: bool = False

    def __post_init__(self) -> None:
        self.authority = Authority(self.begin)
        self.certificate_log, self.log, self.tokens = _new_key(), _new_key(), _new_key()
        self.closing = threading.Event()

    # --- the authority ---

    def certificate(
        self,
        key: ec.EllipticCurvePublicKey,
        names: tuple[str, ...],
        issuer: str,
        *,
        begin: dt.datetime | None = None,
        log: ec.EllipticCurvePrivateKey | None = None,
        is_logged: bool = True,
    ) -> x509.Certificate:
        """Return a certificate for an identity of ten minutes, with the promise of a log of certificates."""
        authority = self.authority
        begin = begin or dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(seconds=5)
        named: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(name) if "://" in name else x509.RFC822Name(name) for name in names
        ]
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.SubjectKeyIdentifier.from_public_key(key), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), False),
            (x509.SubjectAlternativeName(named), True),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(_ISSUER_OID_BEFORE), issuer.encode()), False),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(_ISSUER_OID), _der(0x0C, issuer.encode())), False),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(authority.issuing.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(minutes=10))
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        before = builder.sign(authority.key, hashes.SHA256())
        if not is_logged:
            return before
        promise = self._promise(before.tbs_certificate_bytes, begin, log or self.certificate_log)
        listed = _der(0x04, struct.pack("!HH", len(promise) + 2, len(promise)) + promise)
        promised = x509.UnrecognizedExtension(x509.ObjectIdentifier(_SCT_OID), listed)
        return builder.add_extension(promised, critical=False).sign(authority.key, hashes.SHA256())

    def _promise(self, body: bytes, time: dt.datetime, log: ec.EllipticCurvePrivateKey) -> bytes:
        """Return the signed timestamp of a log of certificates, by section 3.2 of RFC 6962."""
        stamp = int(time.timestamp() * 1000)
        issuer = hashlib.sha256(_spki(self.authority.key)).digest()
        entry = issuer + len(body).to_bytes(3, "big") + body
        signature = _sign(log, struct.pack("!BBQH", 0, 0, stamp, 1) + entry + struct.pack("!H", 0))
        log_id = hashlib.sha256(_spki(self.certificate_log)).digest()
        return (
            struct.pack("!B32sQH", 0, log_id, stamp, 0) + _SHA256_ECDSA + struct.pack("!H", len(signature)) + signature
        )

    # --- the log ---

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(_spki(self.log)).digest()

    def add_entry(self, body: bytes, time: dt.datetime | None = None) -> dict[str, Any]:
        """Add an entry to the log, and return it as the service does."""
        self.entries.append(body)
        leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in self.entries]
        index, size, root = len(leaves) - 1, len(leaves), _tree(leaves)
        note = f"simulator - 1\n{size}\n{b64(root)}\n"
        signature = b64(self.log_id[:4] + _sign(self.log, note.encode()))
        entry = {
            "body": b64(body),
            "integratedTime": int((time or dt.datetime.now(dt.UTC)).timestamp()),
            "logID": self.log_id.hex(),
            "logIndex": index,
        }
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        proof = {
            "checkpoint": f"{note}\n\u2014 simulator {signature}\n",
            "hashes": [one.hex() for one in _path(index, leaves)],
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": size,
        }
        promise = b64(_sign(self.log, canonical))
        return {**entry, "verification": {"inclusionProof": proof, "signedEntryTimestamp": promise}}

    @staticmethod
    def body(payload: bytes, signature: bytes, certificate: bytes) -> bytes:
        """Return the body of an entry about a signed payload, given the certificate as PEM."""
        digest = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
        spec = {
            "envelopeHash": digest,  # of JSON that is not canonical, so that no client compares it
            "payloadHash": digest,
            "signatures": [{"signature": b64(signature), "verifier": b64(certificate)}],
        }
        document = {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    # --- signatures ---

    def bundle(
        self,
        payload: bytes,
        name: str = IDENTITY,
        issuer: str = ISSUER,
        *,
        time: dt.datetime | None = None,
        begin: dt.datetime | None = None,
        certificate_log: ec.EllipticCurvePrivateKey | None = None,
        is_certificate_logged: bool = True,
        more_names: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Return a signature of a payload as a document.

        Args:
            payload: What is signed.
            name: Whose certificate it is.
            issuer: Who vouched for that.
            time: The time of the entry in the log; None for now.
            begin: The first moment of the certificate; None for now.
            certificate_log: Another key that promises to log the certificate.
            is_certificate_logged: Whether the certificate has such a promise.
            more_names: Other names in the certificate.
        """
        key = _new_key()
        certificate = self.certificate(
            key.public_key(),
            (name, *more_names),
            issuer,
            begin=begin,
            log=certificate_log,
            is_logged=is_certificate_logged,
        )
        signature = _sign(key, pre_authentication(payload))
        entry = self.add_entry(self.body(payload, signature, certificate.public_bytes(Encoding.PEM)), time)
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [_in_bundle(entry)],
            },
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": b64(signature)}],
            },
        }

    # --- what clients are given ---

    def write_trust(self, directory: Path, *identities: dict[str, str]) -> Path:
        """Write a directory for ``THOTH_TRUST``: the trust root, and identities, by default the usual one."""
        directory.mkdir(exist_ok=True)
        trusted = {"identities": list(identities) or [{"identity": IDENTITY, "issuer": ISSUER}]}
        (directory / "identities.json").write_text(json.dumps(trusted))
        (directory / "trusted_root.json").write_text(json.dumps(self.trusted_root()))
        return directory

    def trusted_root(self, end: dt.datetime | None = None) -> dict[str, Any]:
        """Return the trust root; ``end`` is when authority and logs stopped counting."""
        period = {"start": self.begin.isoformat()} | ({} if end is None else {"end": end.isoformat()})

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {"rawBytes": b64(_spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": period}
            log_id = {"keyId": b64(hashlib.sha256(_spki(key)).digest())}
            return {
                "baseUrl": "http://log.invalid",
                "hashAlgorithm": "SHA2_256",
                "publicKey": public,
                "logId": log_id,
            }

        def authority(certificate: x509.Certificate) -> dict[str, Any]:
            chain = [certificate, self.authority.root]
            return {
                "subject": {"organization": "simulator", "commonName": "simulator"},
                "uri": "http://authority.invalid",
                "certChain": {"certificates": [{"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in chain]},
                "validFor": period,
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log)],
            "certificateAuthorities": [authority(self.authority.issuing)],
            "ctlogs": [log(self.certificate_log)],
            "timestampAuthorities": [authority(self.authority.clock)],
        }

    def trust_config(self, url: str, *, has_clock: bool = False) -> dict[str, Any]:
        """Return the trust root with the services, all at one address; ``has_clock`` adds one for the time."""
        service = {
            "url": url,
            "majorApiVersion": 1,
            "validFor": {"start": self.begin.isoformat()},
            "operator": "simulator",
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [{**service, "url": f"{url}/timestamp"}] if has_clock else [],
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def token(self, name: str = IDENTITY, issuer: str = ISSUER, **claims: object) -> str:
        """Return the token of an identity, as a job of GitHub Actions gets it."""
        now = int(dt.datetime.now(dt.UTC).timestamp())
        stated = {
            "iss": issuer,
            "sub": "repo:acme/models:ref:refs/heads/main",
            "aud": "sigstore",
            "iat": now,
            "exp": now + 600,
            "job_workflow_ref": name.removeprefix("https://github.com/"),
        }
        return jwt.encode({**stated, **claims}, self.tokens, algorithm="ES256")


def _in_bundle(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the log as bundles have it."""
    proof = entry["verification"]["inclusionProof"]
    return {
        "logIndex": str(entry["logIndex"]),
        "logId": {"keyId": b64(bytes.fromhex(entry["logID"]))},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": str(entry["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": entry["verification"]["signedEntryTimestamp"]},
        "inclusionProof": {
            "logIndex": str(proof["logIndex"]),
            "rootHash": b64(bytes.fromhex(proof["rootHash"])),
            "treeSize": str(proof["treeSize"]),
            "hashes": [b64(bytes.fromhex(one)) for one in proof["hashes"]],
            "checkpoint": {"envelope": proof["checkpoint"]},
        },
        "canonicalizedBody": entry["body"],
    }


# --- the services ---


@contextlib.contextmanager
def serve(sigstore: Sigstore) -> Iterator[str]:
    """Serve an instance on this computer for a block, and yield its address."""

    class Handler(_Handler):
        instance = sigstore

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        sigstore.closing.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a client that waited long enough is gone."""


class _Handler(BaseHTTPRequestHandler):
    instance: Sigstore

    def do_GET(self) -> None:
        path, _, query = self._begin().partition("?")
        if path == "/.well-known/openid-configuration":
            url = f"http://{self.headers['Host']}"
            self._answer(200, {"authorization_endpoint": f"{url}/auth", "token_endpoint": f"{url}/token"})
        elif path == "/job-token" and self.headers["Authorization"] == "bearer of-the-job":
            self._answer(200, {"value": self.instance.token(aud=query.removeprefix("audience="))})
        else:
            self._answer(404, {"code": 404, "message": "not found"})

    def do_POST(self) -> None:
        path = self._begin()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "/timestamp":
            self._answer(200, self.instance.authority.stamp(data))
            return
        request = json.loads(data)
        if path == "/api/v2/signingCert":
            self._answer_with_certificate(request)
        elif path == "/api/v1/log/entries":
            proposed = request["spec"]["proposedContent"]
            envelope = json.loads(proposed["envelope"])
            signature = base64.b64decode(envelope["signatures"][0]["sig"])
            (certificate,) = (base64.b64decode(one) for one in proposed["verifiers"])
            body = self.instance.body(base64.b64decode(envelope["payload"]), signature, certificate)
            entry = self.instance.add_entry(body)
            self._answer(201, {hashlib.sha256(body).hexdigest(): entry})
        else:
            self._answer(404, {"code": 404, "message": "not found"})

    def _answer_with_certificate(self, request: dict[str, Any]) -> None:
        token = self.headers["Authorization"].removeprefix("Bearer ")
        try:
            key = self.instance.tokens.public_key()
            claims = jwt.decode(token, key, algorithms=["ES256"], audience="sigstore")
        except jwt.InvalidTokenError:
            # As a server may that keeps no secrets: clients show this line.
            self._answer(403, {"code": 7, "message": "unknown issuer"}, f"Forbidden for {token}")
            return
        asked = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
        public = asked.public_key()
        if not asked.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey):
            self._answer(400, {"code": 3, "message": "the request is not signed"})
            return
        name = f"https://github.com/{claims['job_workflow_ref']}"
        certificate = self.instance.certificate(public, (name,), claims["iss"])
        authority = self.instance.authority
        chain = [one.public_bytes(Encoding.PEM).decode() for one in (certificate, authority.issuing, authority.root)]
        self._answer(200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})

    def _begin(self) -> str:
        self.instance.requests.append(self.path)
        if self.instance.is_silent:
            self.instance.closing.wait(60)
        return self.path

    def _answer(self, status: int, document: object, reason: str | None = None) -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status, reason)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""
