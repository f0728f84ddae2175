"""The bill of materials of a bundle on disk, with its report and what its small source files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.errors import Problem, VerificationError
from thoth_models.verification.contents import read_compared
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import open_bundle
from thoth_models_builder.trust import sbom as bill
from thoth_models_builder.trust.bill.source_facts import paths_with_facts, source_facts

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.trust.bill.source_facts import SourceFacts


def sbom(root: Path) -> str:
    """Return the bill of materials of a bundle as JSON. Weights are not read.

    Raises:
        BundleError: The bundle is missing, or its manifest or a configuration is malformed or changed.
        UsageError: The extra ``sbom`` is not installed.
    """
    bundle = open_bundle(root)
    report = read_report(bundle.root, bundle.bundle_digest).report
    return bill.as_text(bill.sbom(bundle.manifest, report, read_facts(bundle.root, bundle.manifest)))


def image_sbom(image: bill.ImageContent, root: Path, manifest: Manifest, bundle_digest: Digest) -> str:
    """Return the bill of materials of an image of a verified bundle as JSON.

    Raises:
        BundleError: A configuration changed since the bundle was verified.
        UsageError: The extra ``sbom`` is not installed.
    """
    report = read_report(root, bundle_digest).report
    return bill.as_text(bill.image_sbom(image, manifest, report, read_facts(root, manifest)))


def read_facts(root: Path, manifest: Manifest) -> dict[str, SourceFacts]:
    """Return what the source files of each model say, by name of the model; each file is compared with its digest.

    Raises:
        VerificationError: A file differs from the manifest.
    """
    found = {}
    for name in manifest.models:
        contents: dict[str, bytes] = {}
        problems: list[Problem] = []
        for path in paths_with_facts(manifest, name):
            data = read_compared(root, path, manifest.files[path])
            if isinstance(data, Problem):
                problems.append(data)
            else:
                contents[path] = data
        if problems:
            raise VerificationError(str(root), problems)
        found[name] = source_facts(contents, name)
    return found
