"""``verify``, ``inspect``, ``diff`` and ``sbom``: read bundles and images that already exist."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import Digest
from thoth_models.process.environment import Trust, stated_trust
from thoth_models.process.task import call_within
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import VERIFY_SECONDS, open_bundle
from thoth_models.verification.verify import verify as verify_bundle
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.layer_diff import STATES, LayerDiff, compare_layouts
from thoth_models_builder.pipeline.bill.bundle_bill import sbom
from thoth_models_builder.pipeline.signing.check_attestations import check_attestations
from thoth_models_builder.reports.bundle_diff import diff as compare_bundles
from thoth_models_builder.reports.results import CheckReport

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.reports.bundle_diff import BundleDiff

__all__ = ["STATES", "VERIFY_SECONDS", "LayerDiff", "compare_layers", "diff", "inspect", "sbom", "verify"]

_LEAST_SECONDS: Final = 0.001
"""What attestations are given if the bundle took all of the time, so that the deadline is what is reported."""


def verify(  # noqa: PLR0913 - keyword arguments with defaults
    root: Path,
    *,
    strict: bool,
    expect_digest: str | None = None,
    min_release: int | None = None,
    trust: Path | None = None,
    signature: Path | None = None,
    attestations: bool = False,
    attestations_file: Path | None = None,
    timeout: float = VERIFY_SECONDS,
) -> CheckReport:
    """Verify a whole bundle with the code of the runtime.

    Args:
        root: The bundle directory.
        strict: As for the runtime's ``verify``.
        expect_digest: The bundle digest; None accepts any.
        min_release: The lowest release; None accepts any, and a bundle without one.
        trust: Public keys and certificates of which one must have signed; None for ``THOTH_TRUST``.
        signature: The signature; None for the file beside the bundle.
        attestations: Check the attestations as well, by the same keys and certificates.
        attestations_file: The attestations; None for the file beside the bundle.
        timeout: As for the runtime's ``verify``; the attestations are part of it.

    Raises:
        BundleError: The bundle is missing, malformed or changed, an older release, or not signed or attested as it
            must be.
        UsageError: A signature is named or attestations are asked for, and nothing that they are verified with.
        LoadTimeout: The deadline passed.
        EnvironmentFault: The keys and certificates cannot be used, or the extra ``signing`` is not installed.
    """
    chosen = stated_trust() if trust is None else Trust(path=trust.absolute())
    if signature is not None:
        if chosen is None:
            raise UsageError("expected --trust beside --signature, found --signature alone")
        chosen = dataclasses.replace(chosen, signature=signature.absolute())
    started = time.monotonic()
    report = verify_bundle(
        root, strict=strict, expect_digest=expect_digest, min_release=min_release, trust=chosen, timeout=timeout
    )
    attested: tuple[str, ...] = ()
    if attestations or attestations_file is not None:
        if chosen is None:
            raise UsageError("expected --trust or THOTH_TRUST beside --attestations, found neither")
        check = functools.partial(check_attestations, report, chosen, attestations_file)
        left = max(timeout - (time.monotonic() - started), _LEAST_SECONDS)
        attested = call_within(left, f"verifying the attestations of {root}", "reading attestations", check)
    return CheckReport(
        output=str(report.root),
        bundle_digest=report.bundle_digest.hex,
        set_digest=report.set_digest.hex,
        release=report.manifest.release,
        files=report.files,
        bytes=report.bytes,
        warnings=tuple(map(str, report.warnings)),
        signed_by=report.signed_by,
        attested=attested,
        seconds=report.seconds,
    )


def inspect(root: Path) -> dict[str, object]:
    """Return the manifest, the report and the digests of a bundle; model files are not verified.

    Raises:
        BundleError: The bundle is missing, or its manifest is malformed or changed.
    """
    bundle = open_bundle(root)
    document: dict[str, object] = json.loads(bundle.manifest.to_bytes())
    found = read_report(bundle.root, bundle.bundle_digest)
    return {
        "root": str(bundle.root),
        "bundle_digest": bundle.bundle_digest.hex,
        "set_digest": Digest.of(bundle.manifest.checksums()).hex,
        "manifest": document,
        "report": None if found.report is None else json.loads(found.report.to_bytes()),
        "report_note": found.note,
    }


def diff(before: Path, after: Path) -> BundleDiff:
    """Compare two bundles by their manifests and reports; model files are not verified.

    Raises:
        BundleError: A bundle is missing, or its manifest is malformed or changed.
    """
    bundles = [open_bundle(root) for root in (before, after)]
    reports = [read_report(bundle.root, bundle.bundle_digest).report for bundle in bundles]
    return compare_bundles(bundles[0].manifest, bundles[1].manifest, (reports[0], reports[1]))


def compare_layers(before: Path, after: Path) -> tuple[LayerDiff, ...]:
    """Compare the images in two layouts layer by layer; return one result for each group of platforms.

    Raises:
        LayoutError: One of them is not a layout, or a document in it is missing or wrong.
    """
    return compare_layouts(before, after)
