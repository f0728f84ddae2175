"""The signature as bytes: what is signed, how it is written, and what is refused when it is read."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.verification.signatures.signature import Signature, Statement, pre_authentication

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STATEMENT = Statement(
    name="ours",
    files={"manifest.json": Digest.of(b"manifest"), "a.b/c": Digest.of(b"1"), "a/b": Digest.of(b"2")},
)
SIGNATURE = Signature(payload=STATEMENT.to_bytes(), signature=b"made", key=Digest.of(b"key"))


def test_a_statement_has_every_file_of_a_bundle_with_the_digest_of_its_manifest(tmp_path: Path) -> None:
    manifest = make_bundle(tmp_path / "bundle", [invented_model("mini")])
    found = Statement.of(manifest).files
    paths = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert found == {str(path.relative_to(tmp_path / "bundle")): Digest.of(path.read_bytes()) for path in paths}
    assert {"manifest.json", "SHA256SUMS"} < set(found)


def test_a_statement_is_read_as_it_was_written() -> None:
    assert Statement.from_bytes(STATEMENT.to_bytes()) == STATEMENT


def test_a_statement_is_the_same_wherever_the_bundle_lies(tmp_path: Path) -> None:
    one, other = (make_bundle(tmp_path / name, [invented_model("mini")]) for name in ("one", "other"))
    assert Statement.of(one).to_bytes() == Statement.of(other).to_bytes()


def test_files_are_in_the_order_of_the_format_which_compares_paths_part_by_part() -> None:
    document = json.loads(STATEMENT.to_bytes())
    assert [item["name"] for item in document["predicate"]["resources"]] == ["a/b", "a.b/c", "manifest.json"]


@pytest.mark.parametrize("certificates", [(), (b"one", b"two")])
def test_a_signature_is_read_as_it_was_written(certificates: tuple[bytes, ...]) -> None:
    key = None if certificates else SIGNATURE.key
    written = Signature(payload=b"payload", signature=b"made", key=key, certificates=certificates)
    assert Signature.from_bytes(written.to_bytes()) == written


def test_what_is_signed_is_that_of_the_specification() -> None:
    """https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md has it for another type."""
    assert pre_authentication(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"
    assert SIGNATURE.signed_bytes() == pre_authentication(SIGNATURE.payload)


def test_a_key_need_not_be_named() -> None:
    """The reference implementation did not, before 1.1."""
    for named in ({}, {"hint": ""}, {"hint": None}):
        document = json.loads(SIGNATURE.to_bytes())
        document["verificationMaterial"]["publicKey"] = named
        assert Signature.from_bytes(json.dumps(document).encode()).key is None


def test_a_signature_of_an_identity_is_kept_as_it_is() -> None:
    """Certificate, entry of the log and proofs are the library's to read."""
    document = json.loads(SIGNATURE.to_bytes())
    document["verificationMaterial"] = {"certificate": {"rawBytes": ""}, "tlogEntries": []}
    data = json.dumps(document, indent=1).encode()
    found = Signature.from_bytes(data)
    assert (found.key, found.certificates, found.payload, found.keyless) == (None, (), SIGNATURE.payload, data)
    assert found.to_bytes() == data


def put(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of a document."""

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


MATERIAL = "verificationMaterial"
ENVELOPE = "dsseEnvelope"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("mediaType", value="application/json"), "mediaType: expected"),
        (put(MATERIAL, value={}), "by a key, with a certificate chain or by an identity, found another"),
        (put(MATERIAL, "publicKey", value={"hint": "abc"}), "hint: expected a sha256"),
        (put(MATERIAL, value={"x509CertificateChain": {"certificates": []}}), "expected at least one certificate"),
        (put(MATERIAL, value={"x509CertificateChain": {"certificates": [{"rawBytes": ""}] * 9}}), "at most 8 items"),
        (put(ENVELOPE, "payloadType", value="text/plain"), "payloadType: expected"),
        (put(ENVELOPE, "payload", value="!"), "payload: expected base64"),
        (put(ENVELOPE, "payload", value=1), "payload: expected a string"),
        (put(ENVELOPE, "signatures", value=[]), "signatures: expected an object, found a list"),
        (put(ENVELOPE, "signatures", value=[{"sig": ""}] * 2), "at most 1 items"),
        (put(ENVELOPE, "signatures", 0, "sig", value="é"), "sig: expected base64"),
    ],
)
def test_a_file_that_is_no_signature(change: Callable[[dict[str, Any]], None], said: str) -> None:
    document = json.loads(SIGNATURE.to_bytes())
    change(document)
    with pytest.raises(FormatError, match=said):
        Signature.from_bytes(json.dumps(document).encode())


RESOURCES = ("predicate", "resources")


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("_type", value="https://in-toto.io/Statement/v0.1"), "_type: expected"),
        (put("predicateType", value="https://model_signing/Digests/v0.1"), "predicateType: expected"),
        (put("predicate", "serialization", "method", value="shards"), 'method: expected "files"'),
        (put("predicate", "serialization", "hash_type", value="blake3"), 'hash_type: expected "sha256"'),
        (put(*RESOURCES, 0, "algorithm", value="blake2"), 'algorithm: expected "sha256"'),
        (put(*RESOURCES, 0, "digest", value="0" * 63), "digest: expected a sha256"),
        (put(*RESOURCES, 0, "name", value="../other"), "name: expected a relative path"),
        (put(*RESOURCES, 0, "name", value="manifest.json"), "name: expected each path once"),
        (put(*RESOURCES, value=[]), "the digest of the digests below"),
        (put("subject", value=[]), "subject: expected an object, found a list"),
        (put("subject", 0, "digest", "sha256", value="0" * 64), "the digest of the digests below"),
    ],
)
def test_a_payload_without_a_statement_about_files(change: Callable[[dict[str, Any]], None], said: str) -> None:
    document = json.loads(STATEMENT.to_bytes())
    change(document)
    with pytest.raises(FormatError, match=said):
        Statement.from_bytes(json.dumps(document).encode())


def test_what_a_later_release_of_the_format_adds_is_ignored() -> None:
    document = json.loads(STATEMENT.to_bytes())
    document["predicate"]["model_card"] = {"name": "x"}
    document["predicate"]["serialization"]["ignore_paths"] = [".git"]
    assert Statement.from_bytes(json.dumps(document).encode()) == STATEMENT
    outer = json.loads(SIGNATURE.to_bytes())
    outer[ENVELOPE]["payload"] = base64.b64encode(STATEMENT.to_bytes()).decode()
    outer[MATERIAL]["timestampVerificationData"] = {}
    assert Signature.from_bytes(json.dumps(outer).encode()) == SIGNATURE


@pytest.mark.hostile
def test_a_signature_of_millions_of_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight megabytes of empty objects take 190 in memory, and a line of attestations may be longer."""
    with monkeypatch.context() as patched:
        patched.setattr(json, "loads", None)
        with pytest.raises(FormatError, match="expected a signature of at most 4096 values, found 4096 commas"):
            Signature.from_bytes(b'{"a":[' + b"{}," * 4096 + b"{}]}")
    with pytest.raises(FormatError, match="mediaType"):
        Signature.from_bytes(b'{"a":[' + b"{}," * 4095 + b"{}]}")
