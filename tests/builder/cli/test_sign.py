"""`thoth-bundle sign`, and `verify --trust`, as they are typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.signing import make_certificate, make_key
from thoth_models_builder.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.signing


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [invented_model("mini")])
    make_key(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("THOTH_TRUST", "THOTH_TRUST_POLICY", "THOTH_MODELS_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    make_writable(tmp_path / "bundle")


def test_sign_and_verify(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", "--key", "release.key"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{place}/bundle.sig: written; 6 files signed by the key ")
    assert main(["verify", "--trust", "release.pub"]) == 0
    assert printed.split("signed by ")[1].splitlines()[0] in capsys.readouterr().out.splitlines()[-1]
    assert main(["sign", "--key", "release.key", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["is_unchanged"], found["files"]) == (True, True, 6)


def test_with_a_certificate(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_certificate(place, "root", is_authority=True)
    issuing = make_certificate(place, "issuing", root, is_authority=True)
    make_certificate(place, "signer", issuing)
    assert main(["sign", "--key", "signer.key", "--certificate", "signer.crt", "--chain", "issuing.crt"]) == 0
    assert "signed by the certificate of CN=signer" in capsys.readouterr().out
    assert main(["verify", "--trust", "root.crt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signed_by"] == "the certificate of CN=signer"


def test_as_an_identity(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support.sigstore_simulator import IDENTITY, ISSUER, Sigstore, serve

    sigstore = Sigstore()
    (place / "token").write_text(sigstore.token())
    with serve(sigstore) as url:
        (place / "sigstore.json").write_text(json.dumps(sigstore.trust_config(url)))
        arguments = ["sign", "--keyless", "--identity-token", "token", "--trust-config", "sigstore.json"]
        assert main([*arguments, "--write-trust", "trust"]) == 0
        assert f"6 files signed by the identity {IDENTITY} (issuer {ISSUER})\n" in capsys.readouterr().out
        assert main(["verify", "--trust", "trust", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["signed_by"] == f"the identity {IDENTITY} (issuer {ISSUER})"
        (place / "token").write_text(Sigstore().token())
        assert main(arguments) == 4
    said = capsys.readouterr().err.replace("\n", " ")
    assert "asking for a certificate for repo:acme/models" in said
    assert "hint: check the token" in said


def test_a_key_and_an_identity_are_two_ways(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", "--key", "release.key", "--trust-config", "x"]) == 2
    assert "expected --keyless beside --identity-token" in capsys.readouterr().err
    for arguments in (["sign"], ["sign", "--key", "release.key", "--keyless"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert not (place / "bundle.sig").exists()


def test_verify_of_a_bundle_that_another_key_signed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_key(place, "other")
    assert main(["sign", "--key", "other.key", "--signature", "elsewhere.sig"]) == 0
    for arguments, said in {
        ("--trust", "release.pub"): "expected a signature of this bundle, found nothing",
        ("--trust", "release.pub", "--signature", "elsewhere.sig"): "found one by the key",
    }.items():
        assert main(["verify", *arguments]) == 1
        printed = capsys.readouterr().err.replace("\n", " ")
        assert said in printed
        assert "hint: sign the bundle with `thoth-bundle sign`, or name the key" in printed
    assert main(["verify", "--trust", "other.pub", "--signature", "elsewhere.sig"]) == 0


def test_a_signature_alone_is_bad_usage(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["sign", "--key", "release.key", "--signature", "elsewhere.sig"]) == 0
    assert main(["verify", "--signature", "elsewhere.sig"]) == 2
    assert "expected --trust beside --signature" in capsys.readouterr().err
    monkeypatch.setenv("THOTH_TRUST", "release.pub")
    assert main(["verify", "--signature", "elsewhere.sig"]) == 0


def test_trust_that_cannot_be_read_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--trust", "absent"]) == 4
    assert "expected a readable file or directory" in capsys.readouterr().err.replace("\n", " ")
