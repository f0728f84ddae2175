"""`attest`: the file beside a bundle, what is in it, and what it never touches."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attesting import Attestable, attest_options
from tests.support.bundles import make_writable
from tests.support.signing import make_key
from thoth_models import verify
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import LockOutOfDateError, OutputError, UsageError
from thoth_models_builder.pipeline.signing import attest as module
from thoth_models_builder.pipeline.signing.attest import attest
from thoth_models_builder.trust.attestations.statement import Attestation
from thoth_models_builder.trust.signing import sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.signing import Key

pytestmark = pytest.mark.signing


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    Attestable(tmp_path, release=7).write()
    yield tmp_path
    make_writable(tmp_path / "bundle")


def statements(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [json.loads(base64.b64decode(line["dsseEnvelope"]["payload"])) for line in lines]


def test_a_bundle_is_attested_and_stays_as_it_is(place: Path, key: Key) -> None:
    before = verify(place / "bundle")
    states = {path: path.stat().st_mtime_ns for path in (place / "bundle").rglob("*")}
    report = attest(attest_options(place, key))
    assert (report.output, report.is_unchanged) == (str(place / "bundle.intoto.jsonl"), False)
    assert report.attested == ("provenance", "accuracy", "licences")
    assert report.bundle_digest == before.bundle_digest.hex
    assert report.without_digest == ("torch 0.0.1+cpu",)
    assert {path: path.stat().st_mtime_ns for path in (place / "bundle").rglob("*")} == states
    made = statements(place / "bundle.intoto.jsonl")
    assert [one["predicateType"] for one in made] == [
        "https://slsa.dev/provenance/v1",
        "https://thoth-models/attestation/accuracy/v1",
        "https://cyclonedx.org/bom",
    ]
    subject = {"name": "test-bundle", "digest": {"sha256": before.bundle_digest.hex}}
    assert all(one["subject"] == [subject] for one in made)
    external = made[0]["predicate"]["buildDefinition"]["externalParameters"]
    assert external["specification"]["digest"]["sha256"] == Digest.of((place / "models.yaml").read_bytes()).hex
    assert external["bundle"] == {"name": "test-bundle", "default": "mini", "release": 7}
    assert "selected" not in external


def test_attesting_again_rewrites_nothing(place: Path, key: Key) -> None:
    path = place / "bundle.intoto.jsonl"
    attest(attest_options(place, key))
    before = path.stat()
    assert attest(attest_options(place, key)).is_unchanged
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_installed_toolchain_has_its_digest(place: Path, key: Key) -> None:
    attest(attest_options(place, key))
    (provenance, _, _) = statements(place / "bundle.intoto.jsonl")
    tools = {one["name"]: one for one in provenance["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert len(tools["numpy"]["digest"]["dirHash"]) == 64
    assert tools["compiler"]["digest"]["sha256"].startswith(tools["compiler"]["annotations"]["version"])
    assert "digest" not in tools["torch"]


def test_what_others_attest_of_the_bundle_stays(place: Path, key: Key, tmp_path: Path) -> None:
    path, digest = place / "bundle.intoto.jsonl", verify(place / "bundle").bundle_digest
    other = make_key(tmp_path, "other")
    kept, dropped = (
        sign(Attestation("test-bundle", about, "https://example.org/scan", {"ok": True}), other.file)
        for about in (digest, Digest.of(b"the bundle before"))
    )
    attest(attest_options(place, other))
    path.write_bytes(path.read_bytes() + dropped.signature.to_bytes() + kept.signature.to_bytes())
    attest(attest_options(place, key))
    assert path.read_bytes().endswith(kept.signature.to_bytes())
    assert [one["predicateType"] for one in statements(path)][3:] == ["https://example.org/scan"]
    assert attest(attest_options(place, key)).is_unchanged


def test_a_file_of_something_else_stays(place: Path, key: Key) -> None:
    (place / "bundle.intoto.jsonl").write_bytes(b"a user's own\n")
    with pytest.raises(OutputError, match="expected earlier attestations or no file, found another"):
        attest(attest_options(place, key))
    assert (place / "bundle.intoto.jsonl").read_bytes() == b"a user's own\n"


def test_attestations_elsewhere_but_never_in_the_bundle(place: Path, key: Key) -> None:
    attest(attest_options(place, key, output=place / "elsewhere.jsonl"))
    assert (place / "elsewhere.jsonl").is_file()
    assert not (place / "bundle.intoto.jsonl").exists()
    with pytest.raises(UsageError, match="expected --attestations-file outside of the bundle"):
        attest(attest_options(place, key, output=place / "bundle" / "x.jsonl"))


def test_a_bundle_of_another_lock_is_not_attested(place: Path, key: Key) -> None:
    """Not even where the bundle does not have the file: its cache key says that it was another one."""
    lock = place / "models.lock"
    lock.write_bytes(lock.read_bytes().replace(Digest.of(b"other/source/modules.json").hex.encode(), b"0" * 64))
    with pytest.raises(
        UsageError, match=r"provenance: expected .*models\.yaml and .*models\.lock that .* was built from"
    ):
        attest(attest_options(place, key))
    assert not (place / "bundle.intoto.jsonl").exists()


def test_a_lock_that_does_not_fit_its_specification(place: Path, key: Key) -> None:
    file = place / "models.yaml"
    file.write_bytes(file.read_bytes().replace(b'"acme/mini"', b'"acme/another"'))
    with pytest.raises(LockOutOfDateError):
        attest(attest_options(place, key))


def test_a_bundle_of_another_release_is_not_attested(place: Path, key: Key) -> None:
    file = place / "models.yaml"
    file.write_bytes(file.read_bytes().replace(b'"release": 7', b'"release": 8'))
    with pytest.raises(UsageError, match=r"bundle\.release: expected 7, found 8"):
        attest(attest_options(place, key))


def test_a_bundle_that_was_not_measured_is_not_attested(place: Path, key: Key) -> None:
    (place / "bundle.report.json").unlink()
    with pytest.raises(
        UsageError, match=r"expected the report of the build beside .*, found none of coded/onnx-fp32, mini"
    ):
        attest(attest_options(place, key))


def test_a_model_that_was_left_out_of_the_bundle_is_said(place: Path, key: Key) -> None:
    document = json.loads((place / "models.yaml").read_bytes())
    lock = json.loads((place / "models.lock").read_bytes())
    document["models"]["more"], lock["models"]["more"] = document["models"]["plain"], lock["models"]["plain"]
    (place / "models.yaml").write_text(json.dumps(document), encoding="utf-8")
    (place / "models.lock").write_text(json.dumps(lock), encoding="utf-8")
    attest(attest_options(place, key))
    external = statements(place / "bundle.intoto.jsonl")[0]["predicate"]["buildDefinition"]["externalParameters"]
    assert external["selected"] == ["mini", "other", "coded", "plain"]
    assert "more" not in external["models"]


@pytest.mark.parametrize("text", ["", "runner", "https:", "https://[", "https://ci.example.org/a b", "a:\u202e"])
def test_a_builder_that_is_no_address(place: Path, key: Key, text: str) -> None:
    with pytest.raises(UsageError, match="--builder-id: expected a URI"):
        attest(attest_options(place, key, builder_id=text))


def test_a_file_that_would_not_be_read_is_not_written(place: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ATTESTATIONS", 100)
    with pytest.raises(OutputError, match="expected at most 100 bytes in 64 lines"):
        attest(attest_options(place, key))
    assert not (place / "bundle.intoto.jsonl").exists()
