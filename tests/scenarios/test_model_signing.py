"""Both ways between this project and model-signing, the reference implementation of the format, by its command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit, invented_model, make_bundle, make_writable
from tests.support.signing import make_certificate, make_key
from tests.support.sigstore_simulator import IDENTITY, ISSUER, Sigstore, serve
from thoth_models import VerificationError, verify
from thoth_models_builder.pipeline.signing.sign import KeylessOptions, SignOptions, sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.signing
WEIGHTS = "mini/source/model.safetensors"


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    """A bundle with names that two orders of paths sort differently."""
    more = {"a.b/c": b"1", "a/b": b"2", "a-b": b"3", ".gitattributes": b"4", "größe": b"5"}
    make_bundle(tmp_path / "bundle", [invented_model("mini", more=more), invented_model("mini-2")])
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def model_signing(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run their command."""
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP521R1"])
def test_they_accept_our_signature_by_a_key(bundle: Path, tmp_path: Path, curve: str) -> None:
    key = make_key(tmp_path, curve=curve)
    report = sign(SignOptions(bundle=bundle, key=key.file))
    arguments = ("verify", "key", bundle, "--signature", report.output, "--public_key", key.public_file)
    finished = model_signing(*arguments)
    assert (finished.returncode, finished.stdout) == (0, "Verification succeeded\n"), finished.stderr
    flip_bit(bundle, WEIGHTS)
    finished = model_signing(*arguments)
    assert finished.returncode == 1
    assert f"Hash mismatch for '{WEIGHTS}'" in finished.stderr


def test_they_accept_our_signature_with_a_certificate(bundle: Path, tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root", is_authority=True)
    issuing = make_certificate(tmp_path, "issuing", root, is_authority=True)
    signer = make_certificate(tmp_path, "signer", issuing)
    report = sign(SignOptions(bundle=bundle, key=signer.key.file, certificate=signer.file, chain=[issuing.file]))
    finished = model_signing(
        "verify", "certificate", bundle, "--signature", report.output, "--certificate_chain", root.file
    )
    assert (finished.returncode, finished.stdout) == (0, "Verification succeeded\n"), finished.stderr


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1"])
def test_we_accept_their_signature_by_a_key(bundle: Path, tmp_path: Path, curve: str) -> None:
    key = make_key(tmp_path, curve=curve)
    finished = model_signing("sign", "key", bundle, "--private_key", key.file, "--signature", tmp_path / "bundle.sig")
    assert finished.returncode == 0, finished.stderr
    report = verify(bundle, trust=key.public_file)
    assert report.signed_by is not None
    with pytest.raises(VerificationError, match="found one by the key"):
        verify(bundle, trust=make_key(tmp_path, "other").public_file)


def test_we_accept_their_signature_with_a_certificate(bundle: Path, tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root", is_authority=True)
    issuing = make_certificate(tmp_path, "issuing", root, is_authority=True)
    signer = make_certificate(tmp_path, "signer", issuing)
    finished = model_signing(
        *("sign", "certificate", bundle, "--private_key", signer.key.file, "--signing_certificate", signer.file),
        *("--certificate_chain", issuing.file, "--certificate_chain", root.file),
        *("--signature", tmp_path / "bundle.sig"),
    )
    assert finished.returncode == 0, finished.stderr
    assert verify(bundle, trust=root.file).signed_by == "the certificate of CN=signer"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[tuple[Path, Path, Sigstore]]:
    """A Sigstore instance: its configuration, a file with a token, and itself."""
    sigstore = Sigstore()
    with serve(sigstore) as url:
        config, token = tmp_path / "sigstore.json", tmp_path / "token"
        config.write_text(json.dumps(sigstore.trust_config(url)))
        token.write_text(sigstore.token())
        yield config, token, sigstore


def test_they_accept_our_signature_as_an_identity(bundle: Path, instance: tuple[Path, Path, Sigstore]) -> None:
    config, token, _ = instance
    report = sign(SignOptions(bundle=bundle, keyless=KeylessOptions(token=token, trust_config=config)))
    arguments = ("verify", "sigstore", bundle, "--signature", report.output, "--trust_config", config)
    finished = model_signing(*arguments, "--identity", IDENTITY, "--identity_provider", ISSUER)
    assert (finished.returncode, finished.stdout) == (0, "Verification succeeded\n"), finished.stderr
    finished = model_signing(*arguments, "--identity", f"{IDENTITY}x", "--identity_provider", ISSUER)
    assert finished.returncode == 1


def test_we_accept_their_signature_as_an_identity(
    bundle: Path, tmp_path: Path, instance: tuple[Path, Path, Sigstore]
) -> None:
    config, token, sigstore = instance
    finished = model_signing(
        *("sign", "sigstore", bundle, "--trust_config", config, "--identity_token", token.read_text()),
        *("--signature", tmp_path / "bundle.sig"),
    )
    assert finished.returncode == 0, finished.stderr
    trust = sigstore.write_trust(tmp_path / "trust")
    assert verify(bundle, trust=trust).signed_by == f"the identity {IDENTITY} (issuer {ISSUER})"
    sigstore.write_trust(trust, {"identity": IDENTITY, "issuer": "https://gitlab.example"})
    with pytest.raises(VerificationError, match="found one by"):
        verify(bundle, trust=trust)


@pytest.mark.hostile
def test_what_their_signature_leaves_out_is_not_accepted(bundle: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    finished = model_signing(
        *("sign", "key", bundle, "--private_key", key.file, "--signature", tmp_path / "bundle.sig"),
        *("--ignore-paths", bundle / "mini-2"),
    )
    assert finished.returncode == 0, finished.stderr
    with pytest.raises(
        VerificationError, match=r"mini-2/.*: signature: expected a file that was signed, found one that"
    ):
        verify(bundle, trust=key.public_file)
