"""The attestations of a bundle that was built, and those that an image takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.attesting import Attestable, attest_options
from tests.support.bundles import make_writable
from tests.support.projects import Project, model_files, write_files
from tests.support.signing import make_certificate, make_key
from thoth_models import VerificationError, verify
from thoth_models.bundle.digest import Digest
from thoth_models.process.environment import Trust
from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline.signing.attest import attest
from thoth_models_builder.pipeline.signing.check_attestations import check_attestations, packed_attestations
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
def place(tmp_path: Path, key: Key) -> Iterator[Path]:
    Attestable(tmp_path).write()
    attest(attest_options(tmp_path, key))
    yield tmp_path
    make_writable(tmp_path / "bundle")


def test_each_attestation_and_its_signer(place: Path, key: Key) -> None:
    found = check_attestations(verify(place / "bundle"), Trust(path=key.public_file))
    assert [text.partition(", by the key ")[0] for text in found] == ["provenance", "accuracy", "licences"]


def test_without_the_report_of_the_build(place: Path, key: Key) -> None:
    """As in an image, which has no report: the figures are compared with the gates."""
    (place / "bundle.report.json").unlink()
    assert len(check_attestations(verify(place / "bundle"), Trust(path=key.public_file))) == 3


def test_with_a_certificate_and_in_another_place(place: Path) -> None:
    root = make_certificate(place, "root", is_authority=True)
    signer = make_certificate(place, "signer", root)
    attest(attest_options(place, signer.key, certificate=signer.file))
    elsewhere = (place / "bundle.intoto.jsonl").rename(place / "elsewhere")
    found = check_attestations(verify(place / "bundle"), Trust(path=root.file), elsewhere)
    assert found[0] == "provenance, by the certificate of CN=signer"


def test_a_bundle_that_the_builder_built(tmp_path: Path, key: Key) -> None:
    """From models.yaml to the check, with nothing invented between them; a configured file is among the sources."""
    project = Project(tmp_path)
    write_files(project.root / "models/mini", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "models/mini"}], "max_seq_length": 12}})
    project.lock()
    project.build()
    attest(attest_options(tmp_path, key))
    report = verify(project.output)
    built = report.manifest.models["mini"].built
    assert built is not None
    assert built.configured
    assert len(check_attestations(report, Trust(path=key.public_file))) == 3
    make_writable(project.output)


def test_attestations_of_other_kinds_and_of_others_are_ignored(place: Path, key: Key, tmp_path: Path) -> None:
    path, bundle = place / "bundle.intoto.jsonl", verify(place / "bundle")
    other = make_key(tmp_path, "other")
    more = [
        sign(Attestation("x", bundle.bundle_digest, "https://example.org/scan", {}), key.file),
        sign(Attestation("x", bundle.bundle_digest, "https://cyclonedx.org/bom", {}), other.file),
        sign(Attestation("x", Digest.of(b"another"), "https://cyclonedx.org/bom", {}), key.file),
        # A statement of provenance by another builder: nothing of ours to compare.
        sign(
            Attestation(
                "x", bundle.bundle_digest, "https://slsa.dev/provenance/v1", {"buildDefinition": {"buildType": "a:b"}}
            ),
            key.file,
        ),
    ]
    path.write_bytes(b"".join(one.signature.to_bytes() for one in more) + b"garbage\n" + path.read_bytes())
    assert len(check_attestations(bundle, Trust(path=key.public_file))) == 3


def test_a_lie_is_not_hidden_by_a_true_statement_of_the_same_kind(place: Path, key: Key) -> None:
    path, bundle = place / "bundle.intoto.jsonl", verify(place / "bundle")
    lie = sign(
        Attestation(
            "x", bundle.bundle_digest, "https://cyclonedx.org/bom", {"bomFormat": "CycloneDX", "components": []}
        ),
        key.file,
    )
    path.write_bytes(lie.signature.to_bytes() + path.read_bytes())
    with pytest.raises(VerificationError) as caught:
        check_attestations(bundle, Trust(path=key.public_file))
    assert [problem.expected for problem in caught.value.problems] == [
        f"the model {name} (licences, predicate.components)" for name in ("coded", "mini", "other", "plain")
    ]


def test_an_image_takes_along_what_is_about_its_bundle(place: Path) -> None:
    bundle = verify(place / "bundle")
    path = place / "bundle.intoto.jsonl"
    assert packed_attestations(bundle) == path.read_bytes()
    path.unlink()
    assert packed_attestations(bundle) is None


@pytest.mark.hostile
def test_an_image_takes_along_nothing_else(place: Path, key: Key) -> None:
    bundle, path = verify(place / "bundle"), place / "bundle.intoto.jsonl"
    another = sign(Attestation("x", Digest.of(b"another"), "https://example.org/scan", {}), key.file)
    path.write_bytes(path.read_bytes() + another.signature.to_bytes())
    with pytest.raises(
        UsageError, match=f"expected attestations of the bundle .*, found one of {Digest.of(b'another')}"
    ):
        packed_attestations(bundle)
    path.write_bytes(b"a user's own\n")
    with pytest.raises(UsageError, match="expected the attestations of the bundle or no file, found another"):
        packed_attestations(bundle)
