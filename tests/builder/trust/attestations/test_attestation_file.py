from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.signing import certificate_with_unread_name, make_certificate, make_key
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.verification.signatures.signature import Signature
from thoth_models.verification.signatures.trust_store import read_trust_store
from thoth_models_builder.trust.attestations.attestation_file import (
    MAX_LINES,
    attestations_path,
    lines_of,
    read_attestations,
)
from thoth_models_builder.trust.attestations.statement import Attestation
from thoth_models_builder.trust.signing import sign

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.signing import Key

pytestmark = pytest.mark.signing
BUNDLE, OTHER = Digest.of(b"manifest"), Digest.of(b"another")


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


def line(key: Key, kind: str, digest: Digest = BUNDLE) -> bytes:
    return sign(Attestation("ours", digest, kind, {"a": 1}), key.file).signature.to_bytes()


def test_the_name_beside_the_bundle(tmp_path: Path) -> None:
    assert attestations_path(tmp_path / "bundle") == tmp_path / "bundle.intoto.jsonl"


def test_lines_in_any_order_and_empty_ones_between_them(key: Key) -> None:
    lines = [line(key, "a:b"), b"\n", b"  \n", line(key, "c:d")]
    accepted, refused = read_attestations(b"".join(lines), BUNDLE, read_trust_store(key.public_file))
    assert [(one.line, one.statement.predicate_type) for one in accepted] == [(1, "a:b"), (4, "c:d")]
    assert {one.signer for one in accepted} == {sign(Attestation("", BUNDLE, "", {}), key.file).signer}
    assert refused == []


def test_what_does_not_count_is_returned_with_the_reason(key: Key, tmp_path: Path) -> None:
    other = make_key(tmp_path, "other")
    lines = [line(key, "a:b"), line(other, "a:b"), line(key, "a:b", OTHER), b'{"payload":""}\n', b"\xff\n"]
    accepted, refused = read_attestations(b"".join(lines), BUNDLE, read_trust_store(key.public_file))
    assert [one.line for one in accepted] == [1]
    assert [one.line for one in refused] == [2, 3, 4, 5]
    assert str(refused[0]).startswith("line 2: expected a signature by one of the 1 public keys and 0 certificates")
    assert str(refused[1]) == f"line 3: expected one about the bundle {BUNDLE}, found one about {OTHER}"
    for one in refused[2:]:
        assert (one.expected, one.found[:15]) == ("a signed statement of in-toto", "something else:")


def test_too_many_lines_are_not_verified() -> None:
    assert len(lines_of(b"x\n" * MAX_LINES)) == MAX_LINES
    with pytest.raises(FormatError, match=f"expected at most {MAX_LINES} attestations, found {MAX_LINES + 1}"):
        lines_of(b"x\n" * (MAX_LINES + 1))


@pytest.mark.hostile
def test_a_file_of_empty_lines_is_not_divided() -> None:
    """64 MiB of them are a list of half a gigabyte."""
    assert len(lines_of(b"x\n" + b"\n" * 1023)) == 1
    with pytest.raises(FormatError, match="expected at most 1024 lines, found 1025"):
        lines_of(b"x\n" + b"\n" * 1024)


@pytest.mark.hostile
def test_a_certificate_that_cannot_be_read_does_not_hide_the_lines_after_it(key: Key, tmp_path: Path) -> None:
    """An X.400 address in its alternative names, which the library has an error of its own for."""
    bad = certificate_with_unread_name(key)
    both = tmp_path / "trusted"
    both.mkdir()
    (both / "key.pub").write_bytes(key.public_file.read_bytes())
    (both / "root.crt").write_bytes(make_certificate(tmp_path, "root", is_authority=True).file.read_bytes())
    first = Signature(payload=b"{}", signature=b"made", certificates=(bad,)).to_bytes()
    accepted, refused = read_attestations(first + line(key, "a:b"), BUNDLE, read_trust_store(both))
    assert [one.line for one in accepted] == [2]
    assert [one.line for one in refused] == [1]
