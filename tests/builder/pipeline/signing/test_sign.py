"""`sign`: the file beside a bundle, and what it never touches."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import flip_bit, invented_model, make_bundle, make_writable
from tests.support.signing import make_key
from thoth_models import VerificationError, verify
from thoth_models_builder.errors import OutputError, UsageError
from thoth_models_builder.pipeline.signing import sign as module
from thoth_models_builder.pipeline.signing.sign import KeylessOptions, SignOptions, sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.signing import Key

pytestmark = pytest.mark.signing


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [invented_model("mini")])
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def test_a_bundle_is_signed_and_stays_as_it_is(bundle: Path, key: Key) -> None:
    before = verify(bundle)
    states = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    report = sign(SignOptions(bundle=bundle, key=key.file))
    assert (report.output, report.is_unchanged) == (str(bundle.with_name("bundle.sig")), False)
    after = verify(bundle, trust=key.public_file)
    assert (after.bundle_digest, after.signed_by) == (before.bundle_digest, report.signed_by)
    assert (report.bundle_digest, report.set_digest, report.files) == (
        before.bundle_digest.hex,
        before.set_digest.hex,
        before.files,
    )
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == states


def test_no_model_file_is_read(bundle: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = os.open

    def note(path: str, *rest: Any, **more: Any) -> int:
        opened.append(str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", note)
    sign(SignOptions(bundle=bundle, key=key.file))
    in_the_bundle = {path.removeprefix(f"{bundle}/") for path in opened if path.startswith(f"{bundle}/")}
    assert in_the_bundle == {"manifest.json", "SHA256SUMS"}


def test_signing_again_rewrites_nothing(bundle: Path, key: Key) -> None:
    path = bundle.with_name("bundle.sig")
    sign(SignOptions(bundle=bundle, key=key.file))
    before = path.stat()
    assert sign(SignOptions(bundle=bundle, key=key.file)).is_unchanged
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_earlier_signature_is_replaced_and_another_file_is_not(bundle: Path, key: Key, tmp_path: Path) -> None:
    path = bundle.with_name("bundle.sig")
    sign(SignOptions(bundle=bundle, key=make_key(tmp_path, "other").file))
    sign(SignOptions(bundle=bundle, key=key.file))
    verify(bundle, trust=key.public_file)
    path.write_bytes(b"a user's own")
    with pytest.raises(OutputError, match="expected an earlier signature or no file, found another"):
        sign(SignOptions(bundle=bundle, key=key.file))
    assert path.read_bytes() == b"a user's own"


def test_a_signature_elsewhere_but_never_in_the_bundle(bundle: Path, key: Key, tmp_path: Path) -> None:
    sign(SignOptions(bundle=bundle, key=key.file, output=tmp_path / "elsewhere.sig"))
    assert (tmp_path / "elsewhere.sig").is_file()
    assert not bundle.with_name("bundle.sig").exists()
    with pytest.raises(UsageError, match="expected --signature outside of the bundle"):
        sign(SignOptions(bundle=bundle, key=key.file, output=bundle / "mini" / "x.sig"))


def test_a_bundle_whose_manifest_was_changed_is_not_signed(bundle: Path, key: Key) -> None:
    flip_bit(bundle, "SHA256SUMS")
    with pytest.raises(VerificationError):
        sign(SignOptions(bundle=bundle, key=key.file))
    assert not bundle.with_name("bundle.sig").exists()


def test_a_signature_that_would_not_be_read_is_not_written(
    bundle: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SIGNATURE", 100)
    with pytest.raises(OutputError, match="expected at most 100 bytes"):
        sign(SignOptions(bundle=bundle, key=key.file))
    assert not bundle.with_name("bundle.sig").exists()


# --- as an identity; the services are in tests/builder/trust ---


def test_trust_is_written_once_and_a_key_is_not_used_beside(bundle: Path, key: Key, tmp_path: Path) -> None:
    from tests.support.sigstore_simulator import Sigstore, serve

    sigstore = Sigstore()
    token, config, trust = (tmp_path / name for name in ("token", "sigstore.json", "trust"))
    token.write_text(sigstore.token())
    with serve(sigstore) as url:
        config.write_text(json.dumps(sigstore.trust_config(url)))
        keyless = KeylessOptions(token=token, trust_config=config, write_trust=trust)
        report = sign(SignOptions(bundle=bundle, keyless=keyless))
        assert sorted(path.name for path in trust.iterdir()) == ["identities.json", "trusted_root.json"]
        assert verify(bundle, trust=trust).signed_by == report.signed_by
        asked = list(sigstore.requests)
        for options, said in (
            (SignOptions(bundle=bundle, keyless=keyless), "what is trusted is not replaced"),
            (
                SignOptions(bundle=bundle, keyless=replace(keyless, write_trust=None), key=key.file),
                "expected no key and no certificate beside",
            ),
            (SignOptions(bundle=bundle, keyless=replace(keyless, write_trust=bundle / "x")), "outside of the bundle"),
            (SignOptions(bundle=bundle), "expected a key or an identity"),
        ):
            with pytest.raises((UsageError, OutputError), match=said):
                sign(options)
        assert sigstore.requests == asked


def test_a_place_that_cannot_be_written(bundle: Path, key: Key, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        sign(SignOptions(bundle=bundle, key=key.file, output=tmp_path / "absent" / "x.sig"))
