"""`thoth-bundle attest`, and `verify --attestations`, as they are typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.attesting import BUILDER_ID, Attestable
from tests.support.bundles import make_writable
from tests.support.signing import make_key
from thoth_models_builder.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.signing
ATTEST = ["attest", "--key", "release.key", "--builder-id", BUILDER_ID]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    Attestable(tmp_path, release=7).write()
    make_key(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("THOTH_TRUST", "THOTH_TRUST_POLICY", "THOTH_MODELS_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["sign", "--key", "release.key"]) == 0
    yield tmp_path
    make_writable(tmp_path / "bundle")


def test_attest_and_verify(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(ATTEST) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(
        f"{place}/bundle.intoto.jsonl: written; provenance, accuracy, licences, signed by the key "
    )
    assert "without a digest, because other versions are installed here: torch 0.0.1+cpu" in printed.err.replace(
        "\n", " "
    )
    assert main(["verify", "--trust", "release.pub", "--attestations", "--min-release", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", by the key")[0] for line in lines[-3:]] == [
        "attested      provenance",
        "attested      accuracy",
        "attested      licences",
    ]
    assert "release       7" in lines
    assert main([*ATTEST, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["is_unchanged"]) == (True, True)
    assert main(["verify", "--trust", "release.pub", "--attestations", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["attested"]) == 3


def test_as_an_identity(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sigstore")
    from tests.support.sigstore_simulator import IDENTITY, ISSUER, Sigstore, serve

    sigstore = Sigstore()
    (place / "token").write_text(sigstore.token())
    with serve(sigstore) as url:
        (place / "sigstore.json").write_text(json.dumps(sigstore.trust_config(url)))
        keyless = ["--keyless", "--identity-token", "token", "--trust-config", "sigstore.json"]
        assert main(["sign", *keyless, "--write-trust", "trust"]) == 0
        capsys.readouterr()
        assert main(["attest", *keyless, "--builder-id", BUILDER_ID]) == 0
    assert f"signed by the identity {IDENTITY} (issuer {ISSUER})\n" in capsys.readouterr().out
    assert main(["verify", "--trust", "trust", "--attestations", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["attested"]) == 3
    assert main(["verify", "--trust", "release.pub", "--attestations"]) == 1  # the identity is not trusted


def test_an_identity_is_asked_for_nothing_if_a_statement_would_be_refused(place: Path) -> None:
    pytest.importorskip("sigstore")
    from tests.support.sigstore_simulator import Sigstore, serve

    sigstore = Sigstore()
    (place / "token").write_text(sigstore.token())
    specification = place / "models.yaml"
    specification.write_text(specification.read_text().replace('"release": 7', '"release": 8'))
    with serve(sigstore) as url:
        (place / "sigstore.json").write_text(json.dumps(sigstore.trust_config(url)))
        keyless = ["--keyless", "--identity-token", "token", "--trust-config", "sigstore.json"]
        assert main(["attest", *keyless, "--builder-id", BUILDER_ID]) == 2
    assert sigstore.requests == []


def test_verify_without_attestations(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--trust", "release.pub", "--attestations"]) == 1
    printed = capsys.readouterr().err.replace("\n", " ")
    assert "attestation: expected the attestations of this bundle, found nothing" in printed
    assert "hint: attest the bundle with `thoth-bundle attest`" in printed
    assert main(["verify", "--trust", "release.pub"]) == 0


def test_attestations_need_keys_to_verify_them_with(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*ATTEST, "--attestations-file", "elsewhere.jsonl"]) == 0
    for arguments in (["--attestations"], ["--attestations-file", "elsewhere.jsonl"]):
        assert main(["verify", *arguments]) == 2
        assert "expected --trust or THOTH_TRUST beside --attestations" in capsys.readouterr().err
    monkeypatch.setenv("THOTH_TRUST", "release.pub")
    assert main(["verify", "--attestations-file", "elsewhere.jsonl"]) == 0
    # Where a missing signature is only warned of, a missing attestation that is asked for is still an error.
    monkeypatch.setenv("THOTH_TRUST_POLICY", "warn")
    assert main(["verify", "--attestations"]) == 1
