"""Attestations that are not true of a bundle, or not by a trusted signer, each in another way: none is accepted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attesting import Attestable, attest_options
from tests.support.bundles import make_writable
from tests.support.signing import make_key
from thoth_models import VerificationError, verify
from thoth_models.process.environment import Trust
from thoth_models.verification.signatures.signature import Signature, pre_authentication
from thoth_models_builder.pipeline.signing.attest import attest
from thoth_models_builder.pipeline.signing.check_attestations import check_attestations
from thoth_models_builder.trust.attestations.attestation_file import MAX_ATTESTATIONS, MAX_LINES
from thoth_models_builder.trust.attestations.statement import Attestation
from thoth_models_builder.trust.signing import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.signing import Key

pytestmark = [pytest.mark.hostile, pytest.mark.signing]
KINDS = ["provenance", "accuracy", "licences"]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def place(tmp_path: Path, key: Key) -> Iterator[Path]:
    """A bundle with its attestations, which are accepted."""
    attested(tmp_path, key)
    assert accepted(tmp_path, key) == KINDS
    yield tmp_path
    make_writable(tmp_path / "bundle")


def attested(place: Path, key: Key, name: str = "test-bundle") -> None:
    Attestable(place).write(name=name)
    attest(attest_options(place, key))


def file_of(place: Path) -> Path:
    return place / "bundle.intoto.jsonl"


def accepted(place: Path, key: Key) -> list[str]:
    found = check_attestations(verify(place / "bundle"), Trust(path=key.public_file))
    return [text.partition(",")[0] for text in found]


def refused(place: Path, key: Key) -> list[str]:
    """Return what is said of attestations that are not accepted."""
    with pytest.raises(VerificationError) as caught:
        accepted(place, key)
    assert {(problem.kind, problem.path) for problem in caught.value.problems} == {("attestation", str(file_of(place)))}
    return [f"expected {problem.expected}, found {problem.found}" for problem in caught.value.problems]


def missing(said: str) -> str:
    """Return the kind that is said to be missing."""
    assert said.startswith("expected an attestation of ")
    assert "about this bundle, by a trusted signer, found none" in said
    return said.removeprefix("expected an attestation of ").split()[0]


def changed(place: Path, key: Key, kind: str, change: Callable[[Any], object]) -> None:
    """Sign another statement of a kind in place of the true one, with the trusted key."""
    lines = file_of(place).read_bytes().splitlines(keepends=True)
    number = KINDS.index(kind)
    statement = json.loads(Signature.from_bytes(lines[number]).payload)
    change(statement["predicate"])
    digest = verify(place / "bundle").bundle_digest
    attestation = Attestation("test-bundle", digest, statement["predicateType"], statement["predicate"])
    lines[number] = sign(attestation, key.file).signature.to_bytes()
    file_of(place).write_bytes(b"".join(lines))


def test_one_byte_of_each_part_of_an_attestation(place: Path, key: Key) -> None:
    whole = file_of(place).read_bytes()
    for part in (b'"payload":"', b'"sig":"', b'"hint":"', b'"payloadType":"', b'"mediaType":"'):
        changed_bytes = bytearray(whole)
        place_of_byte = whole.index(part) + len(part) + 2
        changed_bytes[place_of_byte] = changed_bytes[place_of_byte] ^ 1 or 1
        file_of(place).write_bytes(bytes(changed_bytes))
        (said,) = refused(place, key)
        assert missing(said) == "provenance"
        assert "; line 1: expected " in said


def test_another_key(place: Path, key: Key, tmp_path: Path) -> None:
    said = refused(place, make_key(tmp_path, "other"))
    assert list(map(missing, said)) == KINDS
    assert "line 1: expected a signature by one of the 1 public keys and 0 certificates" in said[0]


def test_another_key_under_the_name_of_the_trusted_one(place: Path, key: Key, tmp_path: Path) -> None:
    other, lines = make_key(tmp_path, "other"), []
    for line in file_of(place).read_bytes().splitlines():
        real = Signature.from_bytes(line)
        lines.append(real._replace(signature=other.sign(real.payload)).to_bytes())
    file_of(place).write_bytes(b"".join(lines))
    said = refused(place, key)
    assert list(map(missing, said)) == KINDS
    assert "expected a signature of this payload by the key" in said[0]


def test_the_attestations_of_another_bundle(place: Path, key: Key, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    attested(tmp_path / "other", key, name="another-bundle")
    file_of(place).write_bytes(file_of(tmp_path / "other").read_bytes())
    said = refused(place, key)
    assert list(map(missing, said)) == KINDS
    ours, theirs = (verify(root / "bundle").bundle_digest for root in (place, tmp_path / "other"))
    assert f"line 1: expected one about the bundle {ours}, found one about {theirs}" in said[0]
    make_writable(tmp_path / "other" / "bundle")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_kind_is_named(place: Path, key: Key, kind: str) -> None:
    lines = file_of(place).read_bytes().splitlines(keepends=True)
    del lines[KINDS.index(kind)]
    file_of(place).write_bytes(b"".join(lines))
    assert list(map(missing, refused(place, key))) == [kind]


def test_a_statement_of_one_kind_as_another(place: Path, key: Key) -> None:
    """What it states is then not what that kind states."""
    digest = verify(place / "bundle").bundle_digest
    lines = file_of(place).read_bytes().splitlines(keepends=True)
    statement = json.loads(Signature.from_bytes(lines[1]).payload)
    wrong = Attestation("x", digest, "https://cyclonedx.org/bom", statement["predicate"])
    file_of(place).write_bytes(b"".join([*lines[:2], sign(wrong, key.file).signature.to_bytes()]))
    (said,) = refused(place, key)
    assert missing(said) == "licences"
    assert "line 3: expected a statement of licences as `thoth-bundle attest` writes it" in said


def test_the_signature_of_the_bundle_is_no_attestation(place: Path, key: Key) -> None:
    from thoth_models.verification.signatures.signature import Statement

    manifest = verify(place / "bundle").manifest
    file_of(place).write_bytes(sign(Statement.of(manifest), key.file).signature.to_bytes())
    assert list(map(missing, refused(place, key))) == KINDS


def test_a_signature_over_another_type_of_payload(place: Path, key: Key) -> None:
    """Signed as something else than an in-toto statement, by the trusted key: DSSE signs the type as well."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    lines = file_of(place).read_bytes().splitlines(keepends=True)
    real = Signature.from_bytes(lines[0])
    other = pre_authentication(real.payload).replace(b"28 application/vnd.in-toto+json", b"10 text/plain")
    made = key.private.sign(other, ec.ECDSA(hashes.SHA256()))
    file_of(place).write_bytes(b"".join([real._replace(signature=made).to_bytes(), *lines[1:]]))
    assert list(map(missing, refused(place, key))) == ["provenance"]


# --- signed by the trusted key, and not true ---


def test_a_wrong_licence(place: Path, key: Key) -> None:
    def change(bill: Any) -> None:
        for part in bill["components"]:
            if part["name"] == "mini":
                part["licenses"] = [{"license": {"id": "MIT"}}]

    changed(place, key, "licences", change)
    (said,) = refused(place, key)
    assert said.startswith('expected ["Apache-2.0"] (licences, predicate.components[')
    assert said.endswith('].licenses), found ["MIT"]')


def test_a_wrong_accuracy(place: Path, key: Key) -> None:
    def change(predicate: Any) -> None:
        predicate["models"]["mini"]["variants"]["onnx-fp32"]["measured"]["minimum_cosine"] = "0.99500"

    changed(place, key, "accuracy", change)
    (said,) = refused(place, key)
    assert said.startswith('expected "1.00000" (accuracy, predicate.models.mini.variants.onnx-fp32.measured.minimum_')
    assert said.endswith('), found "0.99500"')


def test_a_wrong_gate(place: Path, key: Key) -> None:
    """Also where no report of the build is beside the bundle."""

    def change(predicate: Any) -> None:
        predicate["models"]["mini"]["variants"]["onnx-fp32"]["gate"]["required_cosine"] = "0.50000"

    changed(place, key, "accuracy", change)
    (place / "bundle.report.json").unlink()
    assert refused(place, key) == [
        'expected "0.99000" (accuracy, predicate.models.mini.variants.onnx-fp32.gate.required_cosine), found "0.50000"'
    ]


def test_a_wrong_digest_of_the_toolchain(place: Path, key: Key) -> None:
    def change(predicate: Any) -> None:
        (tool,) = (one for one in predicate["buildDefinition"]["resolvedDependencies"] if one["name"] == "compiler")
        tool["digest"] = {"sha256": "0" * 64}

    changed(place, key, "provenance", change)
    (said,) = refused(place, key)
    assert said.startswith("expected a sha256 that begins with ")
    assert said.endswith(f"(provenance, resolvedDependencies: the toolchain/compiler), found sha256 {'0' * 64}")


def test_a_wrong_version_in_the_toolchain(place: Path, key: Key) -> None:
    def change(predicate: Any) -> None:
        predicate["buildDefinition"]["internalParameters"]["models"]["mini"]["toolchain"]["torch"] = "9"

    changed(place, key, "provenance", change)
    (said,) = refused(place, key)
    assert said.startswith(
        'expected "0.0.1+cpu" (provenance, predicate.buildDefinition.internalParameters.models.mini.'
    )
    assert said.endswith('toolchain.torch), found "9"')


@pytest.mark.parametrize("model", ["mini", "other", "plain"])
def test_a_wrong_lock_entry(place: Path, key: Key, model: str) -> None:
    """Also that of a model without source files in the bundle, whose cache key follows from them."""

    def change(predicate: Any) -> None:
        (file,) = (
            one
            for one in predicate["buildDefinition"]["resolvedDependencies"]
            if one["name"] == f"{model}/model.safetensors"
        )
        file["digest"] = {"sha256": "0" * 64}

    changed(place, key, "provenance", change)
    assert any(f"(provenance, resolvedDependencies: {model}" in said for said in refused(place, key))


# --- files that are none ---


def test_a_file_of_something_else(place: Path, key: Key) -> None:
    for data in (b"", b"\x00" * 100, b"null\n", b"[" * 100_000, b"{}\n" * MAX_LINES):
        file_of(place).write_bytes(data)
        assert list(map(missing, refused(place, key))) == KINDS


def test_too_many_attestations_are_not_verified(place: Path, key: Key) -> None:
    file_of(place).write_bytes(b"{}\n" * (MAX_LINES + 1))
    (said,) = refused(place, key)
    assert f"found expected at most {MAX_LINES} attestations, found {MAX_LINES + 1}" in said


def test_a_huge_file_is_not_read(place: Path, key: Key) -> None:
    os.truncate(file_of(place), MAX_ATTESTATIONS + 1)
    (said,) = refused(place, key)
    assert f"expected at most {MAX_ATTESTATIONS} bytes, found {MAX_ATTESTATIONS + 1}" in said


def test_a_pipe_is_not_waited_for(place: Path, key: Key) -> None:
    file_of(place).unlink()
    os.mkfifo(file_of(place))
    (said,) = refused(place, key)
    assert "expected a regular file, found a FIFO" in said


def test_no_file(place: Path, key: Key) -> None:
    file_of(place).unlink()
    assert refused(place, key) == ["expected the attestations of this bundle, found nothing"]


def test_names_that_would_control_a_terminal_are_shown(place: Path, key: Key) -> None:
    changed(
        place, key, "accuracy", lambda predicate: predicate["models"].update({"\x1b[31mred\u202e": {"variants": {}}})
    )
    (said,) = refused(place, key)
    assert "predicate.models.\\x1b[31mred\\u202e" in said
