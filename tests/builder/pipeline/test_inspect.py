"""``verify``, ``inspect`` and ``diff`` of bundles on disk; layers and bills of materials are in tests of their own."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.projects import NEEDED, Project, contents
from tests.support.signing import make_key
from thoth_models import LoadTimeout, verify
from thoth_models.errors import BundleNotFoundError, VerificationError
from thoth_models_builder.pipeline import inspect
from thoth_models_builder.pipeline.signing import check_attestations

if TYPE_CHECKING:
    from pathlib import Path


def test_verify_is_the_verification_of_the_runtime(local: Project) -> None:
    built = local.build()
    report = inspect.verify(local.output, strict=True)
    assert (report.bundle_digest, report.set_digest) == (built.bundle_digest, built.set_digest)
    assert report.files == len(NEEDED) + 2
    assert report.bytes == sum(len(data) for data in contents(local.output).values())
    assert report.warnings == ()
    (local.output / "mini/source/vocab.txt").chmod(0o666)
    assert len(inspect.verify(local.output, strict=False).warnings) == 1
    with pytest.raises(VerificationError):
        inspect.verify(local.output, strict=True)


def test_inspect_says_what_the_manifest_says(local: Project) -> None:
    built = local.build()
    document = inspect.inspect(local.output)
    assert document == {
        "root": str(local.output),
        "bundle_digest": built.bundle_digest,
        "set_digest": built.set_digest,
        "manifest": json.loads((local.output / "manifest.json").read_bytes()),
        "report": None,
        "report_note": None,
    }


def test_a_bundle_differs_from_itself_in_nothing(local: Project) -> None:
    local.build()
    report = inspect.diff(local.output, local.output)
    assert [model.verdict for model in report.models] == ["same vectors"]
    assert not report.needs_reindex


@pytest.mark.parametrize("read", [inspect.inspect, inspect.sbom, lambda root: inspect.verify(root, strict=False)])
def test_a_bundle_that_is_missing_is_named(read: object, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(BundleNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere")


@pytest.mark.hostile
@pytest.mark.signing
def test_attestations_that_never_arrive_end_at_the_deadline_of_verify(
    local: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.build()
    report = verify(local.output)
    monkeypatch.setattr(inspect, "verify_bundle", lambda *_arguments, **_settings: report)
    answered = threading.Event()
    monkeypatch.setattr(check_attestations, "read_small", lambda *_arguments: answered.wait(60))
    trust = make_key(tmp_path).public_file
    try:
        with pytest.raises(LoadTimeout, match=r"verifying the attestations of .* did not finish within 0\."):
            inspect.verify(local.output, strict=False, trust=trust, attestations=True, timeout=0.2)
    finally:
        answered.set()
