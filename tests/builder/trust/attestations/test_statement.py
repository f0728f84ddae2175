from __future__ import annotations

import json

import pytest

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models_builder.trust.attestations.statement import MAX_SUBJECTS, Attestation, SignedStatement

BUNDLE = Digest.of(b"manifest")
ATTESTATION = Attestation("ours", BUNDLE, "https://example.org/kind", {"a": [1, "ü"]})


def test_bytes_and_back() -> None:
    data = ATTESTATION.to_bytes()
    assert json.loads(data) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "ours", "digest": {"sha256": BUNDLE.hex}}],
        "predicateType": "https://example.org/kind",
        "predicate": {"a": [1, "ü"]},
    }
    found = SignedStatement.from_bytes(data)
    assert found.subjects == {BUNDLE}
    assert (found.predicate_type, found.about) == ("https://example.org/kind", BUNDLE.hex)
    assert (found.predicate.path, found.predicate.value) == ("predicate", {"a": [1, "ü"]})


def test_subjects_of_others_may_have_other_digests_and_keys_that_are_not_known() -> None:
    document = json.loads(ATTESTATION.to_bytes())
    document["more"] = True
    document["subject"] = [{"digest": {"sha512": "00"}}, {"digest": {"sha256": BUNDLE.hex, "sha1": "00"}, "uri": "x"}]
    assert SignedStatement.from_bytes(json.dumps(document).encode()).subjects == {BUNDLE}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1", "_type: expected"),
        ("subject", {}, "subject: expected a list"),
        ("subject", [{"digest": {"sha256": "00"}}], "expected a sha256"),
        ("subject", [{"digest": {}}] * (MAX_SUBJECTS + 1), f"subject: expected at most {MAX_SUBJECTS} items"),
        ("predicateType", 1, "predicateType: expected a string"),
        ("predicate", None, "the key 'predicate'"),
    ],
)
def test_a_statement_of_another_form(key: str, value: object, said: str) -> None:
    document = {**json.loads(ATTESTATION.to_bytes()), key: value}
    if value is None:
        del document[key]
    with pytest.raises(FormatError, match=said):
        SignedStatement.from_bytes(json.dumps(document).encode())
