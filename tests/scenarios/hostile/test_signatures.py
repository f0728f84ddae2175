"""Bundles that no trusted key has signed, each in another way: none is used, and the message says which check failed.

Where no signature is asked for, each of the bundles is used: it is consistent in itself.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, flip_bit, invented_model, make_bundle, opened, put_backend
from tests.support.signing import make_certificate, make_key, refused, sign_bundle, signed, statement_about
from thoth_models import EmbeddingManager, ManagerConfig, VerificationError, load_embedding, verify
from thoth_models.bundle import manifest as manifests
from thoth_models.bundle.digest import Digest
from thoth_models.cli.doctor import check_quickly
from thoth_models.cli.main import main
from thoth_models.compat.named_model import NamedModel
from thoth_models.errors import EnvironmentFault, ModelUnavailableError
from thoth_models.process.environment import bundle_place
from thoth_models.switching.choice import choose_embeddings
from thoth_models.switching.sides import Hosted
from thoth_models.verification.signatures import signature_file
from thoth_models.verification.signatures.signature import MAX_SIGNATURE, Signature
from thoth_models_builder.cli.main import main as builder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.signing import Key

pytestmark = pytest.mark.signing
WEIGHTS = "mini/source/model.safetensors"


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    for name in ("THOTH_TRUST", "THOTH_TRUST_POLICY", "THOTH_MODELS_SIGNATURE", "THOTH_MODELS_DIGEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(signature_file, "_logged", {})


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path, key: Key) -> Path:
    """A signed bundle."""
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini", more={"tokenizer.json": b"the signed one"})], default="mini")
    sign_bundle(root, key)
    return root


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """A bundle of the same names with another tokenizer, sealed as the builder does, and not signed."""
    root = tmp_path / "another"
    make_bundle(root, [invented_model("mini", more={"tokenizer.json": b"a swapped one"})], default="mini")
    return root


@pytest.fixture
def trust(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_TRUST", str(key.public_file))


def managed(root: Path) -> None:
    with EmbeddingManager(ManagerConfig(root=root)) as manager:
        manager.encode("text", model="mini")


def switched(root: Path) -> None:
    hosted = Hosted(make=lambda: pytest.fail("the hosted side was chosen"), identity="openai:other:8", dimension=8)
    choose_embeddings(index=None, hosted=hosted, local="mini", config=ManagerConfig(root=root), environ={})


CALLS: dict[str, Callable[[Path], object]] = {
    "load_embedding": lambda root: load_embedding(root=root),
    "EmbeddingManager": managed,
    "NamedModel": lambda root: NamedModel("mini", ManagerConfig(root=root)).manifest(),
    "choose_embeddings": switched,
}
COMMANDS: dict[str, Callable[[str], int]] = {
    "verify": lambda root: main(["verify", "--root", root]),
    "list": lambda root: main(["list", "--root", root]),
    "doctor": lambda root: main(["doctor", "--root", root]),
    "doctor --all": lambda root: main(["doctor", "--all", "--root", root]),
    "doctor --quick": lambda root: main(["doctor", "--quick", "--root", root]),
    "embed": lambda root: main(["embed", "--text", "text", "--root", root]),
    "thoth-bundle verify": lambda root: builder(["verify", root]),
}


@pytest.mark.hostile
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
@pytest.mark.usefixtures("trust")
def test_no_call_uses_a_bundle_that_is_not_signed(bundle: Path, another: Path, call: Callable[[Path], object]) -> None:
    with pytest.raises(
        VerificationError, match=r"another\.sig: signature: expected a signature of this bundle, found no"
    ):
        call(another)
    call(bundle)


@pytest.mark.hostile
@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
@pytest.mark.usefixtures("trust")
def test_no_command_uses_a_bundle_that_is_not_signed(
    bundle: Path, another: Path, capsys: pytest.CaptureFixture[str], command: Callable[[str], int]
) -> None:
    assert command(str(another)) == 1
    said = capsys.readouterr().err
    assert f"{another}.sig: signature: expected a signature of this bundle, found nothing" in said.replace("\n", "")
    assert "hint: sign the bundle with `thoth-bundle sign`" in said
    assert command(str(bundle)) == 0


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_health_check_does_not_pass_a_bundle_that_is_not_signed(bundle: Path, another: Path) -> None:
    """The function of ``doctor --quick``, which the command calls after another one that opens the bundle."""
    with pytest.raises(VerificationError, match="signature"):
        check_quickly(bundle_place(another))
    assert check_quickly(bundle_place(bundle)).model == "mini"


def test_without_trust_any_bundle_is_used(another: Path) -> None:
    for call in CALLS.values():
        call(another)
    for command in COMMANDS.values():
        assert command(str(another)) == 0


# --- one test for each attack ---


def with_an_added_file(bundle: Path) -> None:
    with opened(bundle):
        (bundle / "mini/source/added.py").write_bytes(b"import os")


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bundle: flip_bit(bundle, WEIGHTS), f"{WEIGHTS}: changed: expected sha256"),
        (with_an_added_file, r"mini/source/added\.py: extra: expected nothing"),
    ],
    ids=["one bit of a weight", "an added file"],
)
@pytest.mark.usefixtures("trust")
def test_what_was_changed_after_it_was_signed(bundle: Path, change: Callable[[Path], None], said: str) -> None:
    change(bundle)
    with pytest.raises(ModelUnavailableError, match=said):
        load_embedding(root=bundle)
    with pytest.raises(VerificationError, match=said):
        verify(bundle, trust=os.environ["THOTH_TRUST"])


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_swapped_tokenizer_and_a_manifest_that_was_sealed_again(bundle: Path, another: Path) -> None:
    before, after = verify(bundle).bundle_digest, verify(another).bundle_digest
    another.with_name("another.sig").write_bytes(bundle.with_name("bundle.sig").read_bytes())
    assert f"expected a signature of the bundle {after}, found one of the bundle {before}, by the key" in refused(
        another
    )


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_another_key(bundle: Path, key: Key, tmp_path: Path) -> None:
    other = make_key(tmp_path, "other")
    sign_bundle(bundle, other)
    said = refused(bundle)
    assert (
        "expected a signature by one of the 1 public keys and 0 certificates of THOTH_TRUST, found one by the" in said
    )
    # Under the name of the trusted key.
    claimed = Signature.from_bytes(sign_bundle(bundle, key).read_bytes()).key
    forged = signed(statement_about(bundle), other)
    path = bundle.with_name("bundle.sig")
    for named in (claimed, None):
        path.write_bytes(Signature(payload=forged.payload, signature=forged.signature, key=named).to_bytes())
        assert "expected a signature of this payload by the key" in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_payload_that_was_changed_after_it_was_signed(bundle: Path, another: Path) -> None:
    """The rest of the file is that of the real signature."""
    real = Signature.from_bytes(bundle.with_name("bundle.sig").read_bytes())
    changed = Signature(payload=statement_about(another).to_bytes(), signature=real.signature, key=real.key)
    another.with_name("another.sig").write_bytes(changed.to_bytes())
    assert "expected a signature of this payload by the key" in refused(another)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_file_that_differs_from_what_was_signed(bundle: Path, key: Key) -> None:
    """Though the manifest is the signed one: a signer who hashed other files than those that it lists."""
    other = Digest.of(b"other")
    sign_bundle(bundle, key, changes={WEIGHTS: other})
    assert f"{WEIGHTS}: signature: expected sha256 {other}, as it was signed, found sha256 " in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_files_that_were_not_signed_and_files_that_are_not_there(bundle: Path, key: Key) -> None:
    sign_bundle(bundle, key, changes={WEIGHTS: None, "mini/source/gone": Digest.of(b"gone")})
    assert refused(bundle).splitlines() == [
        "mini/source/gone: signature: expected a file of the bundle, as it was signed, found none in the manifest",
        f"{WEIGHTS}: signature: expected a file that was signed, found one that was not",
    ]
    sign_bundle(bundle, key, changes={"manifest.json": None})
    assert "found one of a directory without a manifest" in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_malformed_signature(bundle: Path) -> None:
    path = bundle.with_name("bundle.sig")
    data = path.read_bytes()
    for bad in (b"", data[: len(data) // 2], b"[]", b"\x00" * 100, b"[" * 100_000, b"null"):
        path.write_bytes(bad)
        assert "expected a signature in the model-signing format, found another file" in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_huge_signature_is_not_read(bundle: Path) -> None:
    os.truncate(bundle.with_name("bundle.sig"), MAX_SIGNATURE + 1)
    assert f"expected at most {MAX_SIGNATURE} bytes, found {MAX_SIGNATURE + 1}" in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_a_signature_that_is_no_regular_file(bundle: Path) -> None:
    path = bundle.with_name("bundle.sig")
    path.unlink()
    os.mkfifo(path)
    assert "expected a regular file, found a FIFO" in refused(bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_an_older_bundle_that_was_signed_too_does_not_pass_the_pin_of_a_newer_one(
    bundle: Path, another: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_bundle(another, key)
    load_embedding(root=another)
    monkeypatch.setenv("THOTH_MODELS_DIGEST", verify(bundle).bundle_digest.hex)
    with pytest.raises(VerificationError) as caught:
        load_embedding(root=another)
    assert [problem.kind for problem in caught.value.problems] == ["pin"]
    load_embedding(root=bundle)


@pytest.mark.hostile
@pytest.mark.usefixtures("trust")
def test_the_manifest_of_a_bundle_that_is_not_signed_is_not_parsed(
    another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(_data: bytes) -> None:
        pytest.fail("the manifest was parsed")

    monkeypatch.setattr(manifests.Manifest, "from_bytes", parse)
    refused(another)


@pytest.mark.hostile
def test_a_certificate_of_another_authority(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = (make_certificate(tmp_path, name, is_authority=True) for name in ("ours", "theirs"))
    monkeypatch.setenv("THOTH_TRUST", str(ours.file))
    signer = make_certificate(tmp_path, "signer", theirs)
    sign_bundle(bundle, signer.key, [signer, theirs])
    assert "expected a certificate issued below one of the 0 public keys and 1 certificates" in refused(bundle)
    signer = make_certificate(tmp_path, "signer", ours)
    sign_bundle(bundle, signer.key, [signer])
    load_embedding(root=bundle)


# --- policies, and settings that cannot be used ---


def test_warn_says_once_what_is_wrong_and_uses_the_bundle(
    another: Path, key: Key, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("THOTH_TRUST", str(key.public_file))
    monkeypatch.setenv("THOTH_TRUST_POLICY", "warn")
    with caplog.at_level(logging.WARNING, "thoth_models.events"):
        for _ in range(3):
            load_embedding(root=another)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"signature bundle={another} problem=")
    assert "expected a signature of this bundle, found nothing" in record.getMessage()


def test_with_warn_commands_say_it_and_succeed(
    another: Path, key: Key, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THOTH_TRUST", str(key.public_file))
    monkeypatch.setenv("THOTH_TRUST_POLICY", "warn")
    for command in (COMMANDS["verify"], COMMANDS["thoth-bundle verify"], COMMANDS["doctor"]):
        assert command(str(another)) == 0
        printed = capsys.readouterr()
        assert "expected a signature of this bundle, found nothing" in (printed.out + printed.err).replace("\n", " ")


def test_off_looks_at_nothing(another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_TRUST", "/there/is/none")
    monkeypatch.setenv("THOTH_TRUST_POLICY", "off")
    load_embedding(root=another)


@pytest.mark.parametrize("policy", ["require", "warn"])
def test_trust_settings_that_cannot_be_used_are_errors(
    bundle: Path, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setenv("THOTH_TRUST_POLICY", policy)
    with pytest.raises(EnvironmentFault, match=f"THOTH_TRUST_POLICY: expected THOTH_TRUST beside '{policy}'"):
        load_embedding(root=bundle)
    (tmp_path / "empty").mkdir()
    with opened(bundle):
        (bundle / "release.pub").write_bytes(key.public_file.read_bytes())
    for place, said in {
        tmp_path / "absent": "expected a readable file or directory, found: No such file or directory",
        tmp_path / "empty": "expected 1 to 256 files, found 0",
        bundle / "release.pub": "expected a place outside of the bundle",
        key.file: "expected public keys or certificates as PEM, found PRIVATE KEY",
    }.items():
        monkeypatch.setenv("THOTH_TRUST", str(place))
        with pytest.raises(EnvironmentFault, match=said):
            load_embedding(root=bundle)


def test_an_unknown_policy_is_an_error(bundle: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_TRUST", str(key.public_file))
    monkeypatch.setenv("THOTH_TRUST_POLICY", "Require")
    with pytest.raises(EnvironmentFault, match="expected require, warn or off, found 'Require'"):
        load_embedding(root=bundle)


@pytest.mark.parametrize("policy", ["require", "warn"])
@pytest.mark.usefixtures("trust")
def test_without_the_extra_no_bundle_is_used(bundle: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    monkeypatch.setenv("THOTH_TRUST_POLICY", policy)
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'thoth-models\[signing\]'"):
        load_embedding(root=bundle)


@pytest.mark.usefixtures("trust")
def test_a_signature_in_another_place(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a volume of its own; it may be a symlink, as the files of a volume of Kubernetes are."""
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "bundle.sig").symlink_to(bundle.with_name("bundle.sig").rename(tmp_path / "elsewhere"))
    refused(bundle)
    monkeypatch.setenv("THOTH_MODELS_SIGNATURE", str(tmp_path / "mounted" / "bundle.sig"))
    load_embedding(root=bundle)


@pytest.mark.usefixtures("trust")
def test_verify_and_doctor_say_who_signed(bundle: Path, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("verify", "doctor"):
        assert main([command, "--json", "--root", str(bundle)]) == 0
        assert json.loads(capsys.readouterr().out)["signed_by"].startswith("the key ")
    assert main(["verify", "--root", str(bundle)]) == 0
    assert "\nsigned by     the key " in capsys.readouterr().out
    assert main(["doctor", "--root", str(bundle)]) == 0
    assert f"signature: require, by {key.public_file}" in capsys.readouterr().out
