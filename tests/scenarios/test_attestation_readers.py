"""Our attestations, read and verified by the libraries of others: DSSE, in-toto, SLSA, Sigstore and CycloneDX.

securesystemslib verifies envelopes for python-tuf and in-toto. in-toto-attestation has the reference types of
statements and predicates, which refuse any key that the specification does not have.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]
from sigstore.dsse import Statement as SigstoreStatement
from sigstore_models.bundle.v1 import Bundle

from tests.support.attesting import BUILDER_ID, Attestable, attest_options
from tests.support.bundles import make_writable
from tests.support.signing import make_key
from thoth_models import verify
from thoth_models.process.environment import Trust
from thoth_models_builder.pipeline.signing.attest import attest
from thoth_models_builder.pipeline.signing.check_attestations import check_attestations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.signing import Key

pytestmark = pytest.mark.signing


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def lines(tmp_path: Path, key: Key) -> Iterator[list[bytes]]:
    Attestable(tmp_path, release=7).write()
    attest(attest_options(tmp_path, key, invocation_id="7"))
    yield (tmp_path / "bundle.intoto.jsonl").read_bytes().splitlines()
    make_writable(tmp_path / "bundle")


def envelope_of(line: bytes, keyid: str) -> Envelope:
    """Return the DSSE envelope; a Sigstore bundle names the key beside it, where this library does not look."""
    document = json.loads(line)["dsseEnvelope"]
    document["signatures"][0]["keyid"] = keyid
    return Envelope.from_dict(document)


def payloads(lines: list[bytes]) -> list[bytes]:
    return [envelope_of(line, "").payload for line in lines]


def test_securesystemslib_verifies_the_envelopes(lines: list[bytes], key: Key, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    ours, others = (
        SSlibKey.from_crypto(load_pem_public_key(one.public_file.read_bytes()), keyid="ours")
        for one in (key, make_key(tmp_path, "other"))
    )
    for line in lines:
        envelope = envelope_of(line, "ours")
        assert list(envelope.verify([ours], 1)) == ["ours"]
        with pytest.raises(VerificationError):
            envelope.verify([others], 1)
        envelope.payload = envelope.payload.replace(b"test-bundle", b"Test-bundle", 1)
        with pytest.raises(VerificationError):
            envelope.verify([ours], 1)


def test_sigstore_reads_each_line_as_a_bundle(lines: list[bytes]) -> None:
    for line in lines:
        bundle = Bundle.from_json(line)
        assert bundle.dsse_envelope is not None
        assert bundle.verification_material.public_key is not None
    for payload in payloads(lines):
        SigstoreStatement(payload)


def test_in_toto_reads_the_statements(lines: list[bytes], tmp_path: Path) -> None:
    digest = verify(tmp_path / "bundle").bundle_digest
    for payload in payloads(lines):
        message = json_format.Parse(payload, StatementMessage())
        Statement.copy_from_pb(message).validate()
        assert [(one.name, dict(one.digest)) for one in message.subject] == [("test-bundle", {"sha256": digest.hex})]


def test_in_toto_reads_the_provenance(lines: list[bytes]) -> None:
    predicate = json.loads(payloads(lines)[0])["predicate"]
    found = json_format.ParseDict(predicate, Provenance())
    assert found.build_definition.build_type == "https://thoth-models/build/v1"
    assert (found.run_details.builder.id, found.run_details.metadata.invocation_id) == (BUILDER_ID, "7")
    for dependency in found.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(dependency).validate()
    named = {one.name: one for one in found.build_definition.resolved_dependencies}
    assert len(named["mini/model.safetensors"].digest["sha256"]) == 64
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict({**predicate, "more": 1}, Provenance())


def test_cyclonedx_accepts_the_bill_of_materials(lines: list[bytes]) -> None:
    statement = json.loads(payloads(lines)[2])
    assert statement["predicateType"] == "https://cyclonedx.org/bom"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(statement["predicate"]))
    assert error is None, str(error)[:2000]


def test_we_accept_attestations_that_securesystemslib_signed(lines: list[bytes], key: Key, tmp_path: Path) -> None:
    """In the order and with the spaces of others, and with a key whose hint is not stated."""
    signer = CryptoSigner(key.private)
    written = []
    for payload in reversed(payloads(lines)):
        envelope = Envelope(json.dumps(json.loads(payload)).encode(), "application/vnd.in-toto+json", {})
        envelope.sign(signer)
        document: dict[str, Any] = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": envelope.to_dict(),
        }
        written.append(json.dumps(document).encode() + b"\n")
    (tmp_path / "bundle.intoto.jsonl").write_bytes(b"".join(written))
    found = check_attestations(verify(tmp_path / "bundle"), Trust(path=key.public_file))
    assert len(found) == 3
