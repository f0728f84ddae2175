"""Signatures of identities, each wrong in another way: none is accepted, and the message says which check failed."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.bundles import FakeBackend, invented_model, make_bundle, opened, put_backend
from tests.support.signing import make_certificate, make_key, refused, sign_bundle, statement_about
from tests.support.sigstore_simulator import IDENTITY, ISSUER, Sigstore
from thoth_models import VerificationError, load_embedding, verify
from thoth_models.errors import EnvironmentFault, ModelUnavailableError, OfflineViolation
from thoth_models.verification.signatures import signature_file
from thoth_models.verification.signatures.signature_file import signature_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.signing

Document = dict[str, Any]
MATERIAL = "verificationMaterial"


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    for name in ("THOTH_TRUST_POLICY", "THOTH_MODELS_SIGNATURE", "THOTH_MODELS_DIGEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(signature_file, "_logged", {})


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default="mini")
    return root


@pytest.fixture
def trust(sigstore: Sigstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of ``THOTH_TRUST``: one identity, and the trust root."""
    place = sigstore.write_trust(tmp_path / "trust")
    monkeypatch.setenv("THOTH_TRUST", str(place))
    return place


@pytest.fixture
def signed(sigstore: Sigstore, bundle: Path, trust: Path) -> Document:
    """The signature of the bundle by the trusted identity, which is accepted."""
    document = sigstore.bundle(statement_about(bundle).to_bytes())
    write(bundle, document)
    load_embedding(root=bundle)
    assert verify(bundle, trust=trust).signed_by == f"the identity {IDENTITY} (issuer {ISSUER})"
    return copy.deepcopy(document)


def write(bundle: Path, document: Document) -> None:
    signature_path(bundle.resolve()).write_text(json.dumps(document))


def entry_of(document: Document) -> Document:
    (entry,) = document[MATERIAL]["tlogEntries"]
    found: Document = entry
    return found


# --- whose certificate it is ---


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
@pytest.mark.parametrize(
    ("name", "issuer"),
    [
        (IDENTITY.replace("acme", "acme-evil"), ISSUER),
        (f"{IDENTITY}-2", ISSUER),
        (IDENTITY.removesuffix("n"), ISSUER),
        ("release@acme.example", ISSUER),
        (IDENTITY, "https://gitlab.example"),
        (IDENTITY, f"{ISSUER}/"),
    ],
)
def test_another_identity_or_another_issuer(sigstore: Sigstore, bundle: Path, name: str, issuer: str) -> None:
    write(bundle, sigstore.bundle(statement_about(bundle).to_bytes(), name, issuer))
    said = refused(bundle)
    assert f"expected a signature by {IDENTITY} (issuer {ISSUER}), as THOTH_TRUST says" in said
    assert f"found one by {name} (issuer {issuer})" in said


@pytest.mark.hostile
def test_a_trusted_mail_address_and_any_tag_of_a_workflow(sigstore: Sigstore, bundle: Path, trust: Path) -> None:
    tags = IDENTITY.removesuffix("heads/main") + "tags/"
    mail = {"identity": "release@acme.example", "issuer": "https://accounts.example"}
    sigstore.write_trust(trust, mail, {"identity_prefix": tags, "issuer": ISSUER})
    for name, issuer in ((f"{tags}v1.4.0", ISSUER), ("release@acme.example", "https://accounts.example")):
        write(bundle, sigstore.bundle(statement_about(bundle).to_bytes(), name, issuer))
        load_embedding(root=bundle)
    for name, issuer in ((IDENTITY, ISSUER), ("release@acme.example", ISSUER)):
        write(bundle, sigstore.bundle(statement_about(bundle).to_bytes(), name, issuer))
        assert f"expected a signature by release@acme.example (issuer https://accounts.example) or {tags}*" in refused(
            bundle
        )


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_certificate_with_another_name_beside_the_trusted_one(sigstore: Sigstore, bundle: Path) -> None:
    for other in ("https://github.com/evil", "release@acme.example"):
        write(bundle, sigstore.bundle(statement_about(bundle).to_bytes(), more_names=(other,)))
        assert "expected a certificate with one name, a URI or a mail address, found one with 2" in refused(bundle)


@pytest.mark.hostile
def test_a_certificate_of_another_authority(sigstore: Sigstore, bundle: Path, signed: Document) -> None:
    """With the same logs, and names."""
    other = Sigstore()
    other.log, other.certificate_log, other.entries = sigstore.log, sigstore.certificate_log, sigstore.entries
    write(bundle, other.bundle(statement_about(bundle).to_bytes()))
    assert "failed to build timestamp certificate chain" in refused(bundle)
    write(bundle, signed)
    load_embedding(root=bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_certificate_that_no_log_has_seen(sigstore: Sigstore, bundle: Path) -> None:
    payload = statement_about(bundle).to_bytes()
    write(bundle, sigstore.bundle(payload, is_certificate_logged=False))
    assert "Certificate does not contain a signed certificate timestamp" in refused(bundle)
    write(bundle, sigstore.bundle(payload, certificate_log=ec.generate_private_key(ec.SECP256R1())))
    assert "failed to verify SCT on signing certificate" in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
@pytest.mark.parametrize("minutes", [-1, 11])
def test_a_certificate_that_was_not_valid_when_the_log_saw_it(sigstore: Sigstore, bundle: Path, minutes: int) -> None:
    begin = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=1)
    payload = statement_about(bundle).to_bytes()
    write(bundle, sigstore.bundle(payload, begin=begin, time=begin + dt.timedelta(minutes=minutes)))
    assert "failed to build timestamp certificate chain" in refused(bundle)
    write(bundle, sigstore.bundle(payload, begin=begin, time=begin + dt.timedelta(minutes=1)))
    load_embedding(root=bundle)


@pytest.mark.hostile
@pytest.mark.parametrize("retired", ["tlogs", "certificateAuthorities", "ctlogs"])
def test_an_authority_or_a_log_that_did_not_count_any_more(
    sigstore: Sigstore, bundle: Path, trust: Path, signed: Document, retired: str
) -> None:
    """Such as one whose key was lost."""
    hour = dt.timedelta(hours=1)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    for end, is_accepted in ((now + hour, True), (now - hour, False)):
        root = sigstore.trusted_root() | {retired: sigstore.trusted_root(end=end)[retired]}
        (trust / "trusted_root.json").write_text(json.dumps(root))
        write(bundle, signed)
        if is_accepted:
            load_embedding(root=bundle)
        else:
            assert "trusted root" in refused(bundle)


# --- the log ---


def without_entry(document: Document) -> None:
    document[MATERIAL]["tlogEntries"] = []


def without_entries(document: Document) -> None:
    del document[MATERIAL]["tlogEntries"]


def without_promise(document: Document) -> None:
    del entry_of(document)["inclusionPromise"]


def without_time(document: Document) -> None:
    del entry_of(document)["integratedTime"]


def without_proof(document: Document) -> None:
    del entry_of(document)["inclusionProof"]


def without_checkpoint(document: Document) -> None:
    del entry_of(document)["inclusionProof"]["checkpoint"]


def forged_promise(document: Document) -> None:
    """That of another entry."""
    other = Sigstore().bundle(b"{}")
    entry_of(document)["inclusionPromise"] = entry_of(other)["inclusionPromise"]


def another_time(document: Document) -> None:
    entry = entry_of(document)
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)


def forged_checkpoint(document: Document) -> None:
    """The same root, signed by another log."""
    proof = entry_of(document)["inclusionProof"]
    note, _, line = proof["checkpoint"]["envelope"].partition("\n\n")
    other = entry_of(Sigstore().bundle(b"{}"))["inclusionProof"]["checkpoint"]["envelope"].partition("\n\n")[2]
    ours, theirs = (base64.b64decode(text.split()[2]) for text in (line, other))
    signature = base64.b64encode(ours[:4] + theirs[4:]).decode()
    proof["checkpoint"]["envelope"] = f"{note}\n\n\u2014 simulator {signature}\n"


def another_root_of_the_tree(document: Document) -> None:
    proof = entry_of(document)["inclusionProof"]
    proof["rootHash"] = base64.b64encode(bytes(32)).decode()


def another_place_in_the_tree(document: Document) -> None:
    proof = entry_of(document)["inclusionProof"]
    proof["logIndex"] = str(int(proof["logIndex"]) - 1)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_entry, "expected exactly one log entry"),
        (without_entries, "tlogEntries Field required"),
        (without_promise, "must contain an inclusion promise or signed timestamp"),
        (without_time, "not enough sources of verified time"),
        (without_proof, "inclusionProof Field required"),
        (without_checkpoint, "entry must contain inclusion proof, with checkpoint"),
        (forged_promise, "SET: invalid inclusion promise"),
        (another_time, "SET: invalid inclusion promise"),
        (forged_checkpoint, "checkpoint: invalid signature"),
        (another_root_of_the_tree, "inclusion proof contains invalid root hash"),
        (another_place_in_the_tree, "inclusion proof"),
    ],
)
def test_an_entry_of_the_log_that_is_missing_or_forged(
    bundle: Path, signed: Document, change: Callable[[Document], None], said: str
) -> None:
    change(signed)
    write(bundle, signed)
    found = refused(bundle)
    assert "expected a signature by an identity that Sigstore's checks accept, found one that they refuse" in found
    assert said in found


@pytest.mark.hostile
def test_a_checkpoint_of_another_tree(sigstore: Sigstore, bundle: Path, signed: Document) -> None:
    """Which the log signed as well, with one entry more."""
    later = entry_of(sigstore.bundle(b"{}"))["inclusionProof"]
    entry_of(signed)["inclusionProof"]["checkpoint"] = later["checkpoint"]
    write(bundle, signed)
    assert "Inclusion proof contains invalid root hash signature" in refused(bundle)


def many_hashes(document: Document) -> None:
    """As many as a signature may have values; one with more is not parsed."""
    entry_of(document)["inclusionProof"]["hashes"] = [base64.b64encode(bytes(32)).decode()] * 4_000


def many_timestamps(document: Document) -> None:
    stamps = [{"signedTimestamp": "AAAA"}] * 4_000
    document[MATERIAL]["timestampVerificationData"] = {"rfc3161Timestamps": stamps}


def long_checkpoint(document: Document) -> None:
    entry_of(document)["inclusionProof"]["checkpoint"]["envelope"] = "\n\n" + "\u2014 a" * 600_000 + "\n"


@pytest.mark.hostile
@pytest.mark.parametrize("change", [many_hashes, many_timestamps, long_checkpoint])
def test_a_huge_entry_is_refused_soon(bundle: Path, signed: Document, change: Callable[[Document], None]) -> None:
    change(signed)
    write(bundle, signed)
    started = time.monotonic()
    with pytest.raises(VerificationError, match="found one that they refuse"):
        verify(bundle, trust=os.environ["THOTH_TRUST"])
    assert time.monotonic() - started < 30


@pytest.mark.hostile
def test_the_entry_of_another_signature(sigstore: Sigstore, bundle: Path, signed: Document) -> None:
    """By the same identity: of another payload, and of this one with another key."""
    for payload, said in (
        (b'{"another": "statement"}', "log entry payload hash does not match bundle"),
        (statement_about(bundle).to_bytes(), "log entry signatures do not match bundle"),
    ):
        other = sigstore.bundle(payload)
        write(bundle, {**signed, MATERIAL: {**signed[MATERIAL], "tlogEntries": other[MATERIAL]["tlogEntries"]}})
        assert said in refused(bundle)


# --- what was signed ---


@pytest.mark.hostile
def test_a_statement_that_was_changed_after_it_was_signed(bundle: Path, signed: Document, tmp_path: Path) -> None:
    another = tmp_path / "another"
    make_bundle(another, [invented_model("mini", more={"added": b"1"})], default="mini")
    write(another, signed)
    assert "expected a signature of the bundle " in refused(another)
    payload = base64.b64encode(statement_about(another).to_bytes()).decode()
    write(another, {**signed, "dsseEnvelope": {**signed["dsseEnvelope"], "payload": payload}})
    assert "DSSE: invalid signature" in refused(another)


@pytest.mark.hostile
@pytest.mark.usefixtures("signed")
def test_one_added_file(bundle: Path) -> None:
    with opened(bundle):
        (bundle / "mini" / "source" / "added.py").write_bytes(b"import os")
    with pytest.raises(ModelUnavailableError, match=r"added\.py: extra"):
        load_embedding(root=bundle)
    with pytest.raises(VerificationError, match=r"added\.py: extra"):
        verify(bundle, trust=os.environ["THOTH_TRUST"])


@pytest.mark.hostile
@pytest.mark.parametrize("data", [b"", b"\x30\x03", b"no certificate", b"\x30\x82" + b"\xff" * 5000])
def test_bytes_that_are_no_certificate(bundle: Path, signed: Document, data: bytes) -> None:
    signed[MATERIAL]["certificate"] = {"rawBytes": base64.b64encode(data).decode()}
    write(bundle, signed)
    assert "found one that they refuse" in refused(bundle)


# --- other kinds of signers ---


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_signature_by_a_key_or_a_certificate_where_identities_are_trusted(bundle: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    sign_bundle(bundle, key)
    assert "by one of the 0 public keys, 0 certificates and 1 identities of THOTH_TRUST, found one by the key" in (
        refused(bundle)
    )
    signer = make_certificate(tmp_path, "signer", make_certificate(tmp_path, "root", is_authority=True))
    sign_bundle(bundle, signer.key, [signer])
    assert "found one with a certificate, and none is trusted" in refused(bundle)


@pytest.mark.hostile
def test_a_signature_by_an_identity_where_keys_are_trusted(
    bundle: Path, signed: Document, trust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bundle, signed)
    key = make_key(tmp_path)
    monkeypatch.setenv("THOTH_TRUST", str(key.public_file))
    assert "found one by an identity (keyless), and none is trusted" in refused(bundle)
    # Where both are trusted, each counts.
    (trust / "release.pub").write_bytes(key.public_file.read_bytes())
    monkeypatch.setenv("THOTH_TRUST", str(trust))
    load_embedding(root=bundle)
    sign_bundle(bundle, key)
    load_embedding(root=bundle)


# --- settings that cannot be used ---


@pytest.mark.hostile
@pytest.mark.parametrize("policy", ["require", "warn"])
@pytest.mark.usefixtures("signed")
def test_without_a_trust_root_no_bundle_is_used(
    bundle: Path, trust: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setenv("THOTH_TRUST_POLICY", policy)
    root = trust / "trusted_root.json"
    for content in (None, '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'):
        root.unlink() if content is None else root.write_text(content)
        with pytest.raises(EnvironmentFault, match=r"expected identities and a trust root|expected a trust root of"):
            load_embedding(root=bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("signed")
def test_the_trust_root_of_another_instance(bundle: Path, trust: Path) -> None:
    Sigstore().write_trust(trust)
    assert "failed to build timestamp certificate chain" in refused(bundle)


@pytest.mark.parametrize("policy", ["require", "warn"])
@pytest.mark.usefixtures("signed")
def test_without_the_extra_no_bundle_is_used(bundle: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    monkeypatch.setenv("THOTH_TRUST_POLICY", policy)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'thoth-models\[keyless\]'"):
        load_embedding(root=bundle)


# --- nothing is fetched ---


@pytest.mark.hostile
@pytest.mark.usefixtures("signed")
def test_a_library_that_would_connect_is_stopped(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sigstore.verify import Verifier

    def connect(*_arguments: object) -> None:
        socket.create_connection(("127.0.0.1", 9))

    monkeypatch.setattr(Verifier, "verify_dsse", connect)
    with pytest.raises(OfflineViolation, match=r"socket\.getaddrinfo"):
        load_embedding(root=bundle)


@pytest.mark.usefixtures("signed")
def test_verification_connects_to_nothing_and_writes_nothing(bundle: Path, trust: Path, tmp_path: Path) -> None:
    """In another process, from the first import on: neither a socket nor the home directory, where a cache could be."""
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys\n"
        "kinds = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'os.mkdir')\n"
        "sys.addaudithook(lambda event, _: event in kinds and sys.exit(f'unexpected {event}'))\n"
        "from thoth_models import verify\n"
        "print(verify(sys.argv[1], trust=sys.argv[2]).signed_by)\n"
    )
    command = [sys.executable, "-B", "-W", "ignore", "-c", program, str(bundle), str(trust)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "COV_"))}
    finished = subprocess.run(
        command, env={**environment, "HOME": str(home)}, capture_output=True, text=True, check=False, timeout=120
    )
    assert (finished.returncode, finished.stdout) == (0, f"the identity {IDENTITY} (issuer {ISSUER})\n"), finished
    assert list(home.rglob("*")) == []
