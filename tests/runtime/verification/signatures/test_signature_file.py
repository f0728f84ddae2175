"""The signature beside a bundle: where it lies, and that nothing of it is looked at unasked.

What is refused, and what is said then, is in tests/scenarios/hostile/test_signatures.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle
from tests.support.signing import make_key, sign_bundle
from thoth_models.errors import InvalidInputError
from thoth_models.process.environment import Trust
from thoth_models.verification.signatures.signature_file import SignatureCheck, signature_path
from thoth_models.verification.verify import open_bundle, verify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")])
    return root


def test_the_signature_lies_beside_the_bundle(tmp_path: Path) -> None:
    assert signature_path(tmp_path / "v1.2") == tmp_path / "v1.2.sig"


def test_unasked_no_signature_is_looked_at(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    signature_path(bundle).write_bytes(b"something else")
    assert verify(bundle).signed_by is None
    open_bundle(bundle)


def test_trust_that_is_no_path_is_refused(bundle: Path) -> None:
    with pytest.raises(InvalidInputError, match="trust: expected a path as str or PathLike, found int"):
        verify(bundle, trust=5)  # type: ignore[arg-type]


@pytest.mark.signing
def test_a_link_to_a_bundle_leads_to_the_signature_of_that_bundle(bundle: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    sign_bundle(bundle, key)
    (tmp_path / "current").symlink_to("bundle")
    report = verify(tmp_path / "current", trust=key.public_file)
    assert report.signed_by is not None
    assert report.signed_by.startswith("the key ")
    open_bundle(tmp_path / "current", trust=Trust(path=key.public_file))


@pytest.mark.signing
def test_a_check_says_who_signed_after_the_manifest_was_found_to_be_signed(bundle: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    sign_bundle(bundle, key)
    check = SignatureCheck(bundle, Trust(path=key.public_file))
    opened = open_bundle(bundle)
    check.check_manifest(opened.bundle_digest)
    check.check_files(opened.manifest)
    assert (check.signer or "").startswith("the key ")
    assert check.warnings == ()
