"""Write bills of materials, by https://cyclonedx.org: models, files, origins, licences, accuracy, toolchain and wheels.

CycloneDX 1.6 in JSON, of a bundle, or of an image with one. A bill is a function of what it describes, and depends on
neither time, machine nor user: a timestamp is left out, and the serial number is derived from the rest.

The library that writes it is in the extra ``sbom``, because builds do not need it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.digest import Digest
from thoth_models.bundle.hidden_characters import HIDDEN
from thoth_models_builder.errors import UsageError

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report
    from thoth_models_builder.trust.bill.requirements import Wheel
    from thoth_models_builder.trust.bill.source_facts import SourceFacts

Document = dict[str, Any]

_NO_FACTS: Final[Mapping[str, SourceFacts]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageContent:
    """What an image is, and what it has besides the bundle.

    Attributes:
        name: Its name, such as ``thoth-models:latest``.
        digest: Digest of its index or manifest.
        is_runnable: Whether it is an image, and not a ModelPack artifact.
        wheels: The wheels that are known to be in it.
        is_complete: Whether it has nothing else. An image with a base has a system, of which nothing is known.
    """

    name: str
    digest: Digest
    is_runnable: bool
    wheels: Sequence[Wheel]
    is_complete: bool


def sbom(manifest: Manifest, report: Report | None = None, facts: Mapping[str, SourceFacts] = _NO_FACTS) -> Document:
    """Return the bill of materials of a bundle, as the value of a JSON document.

    Args:
        manifest: Its manifest.
        report: Its measured figures, or None.
        facts: What the source files of its models say, by name of the model.

    Raises:
        UsageError: The extra ``sbom`` is not installed, or the report is that of another bundle.
    """
    writer = require_extra()
    _refuse_other_report(manifest, report)
    document: Document = writer.bundle_document(manifest, report, facts)
    return document


def image_sbom(
    image: ImageContent,
    manifest: Manifest,
    report: Report | None = None,
    facts: Mapping[str, SourceFacts] = _NO_FACTS,
) -> Document:
    """Return the bill of materials of an image with a bundle; other arguments and errors as for :func:`sbom`."""
    writer = require_extra()
    _refuse_other_report(manifest, report)
    document: Document = writer.image_document(image, manifest, report, facts)
    return document


def as_text(document: Document) -> str:
    """Return a bill as canonical JSON, which ends with a newline. Characters that a reader does not see are escaped."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    # Line feeds are those of the indentation: in strings, JSON has escaped them.
    return HIDDEN.sub(_escaped, text) + "\n"


def require_extra() -> ModuleType:
    """Return the module that writes bills.

    Raises:
        UsageError: The extra ``sbom`` is not installed.
    """
    try:
        from thoth_models_builder.trust.bill import document  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        raise UsageError(
            f"expected the extra `sbom` (pip install 'thoth-models-builder[sbom]'), found no {error.name}"
        ) from error
    return document


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1]


def _refuse_other_report(manifest: Manifest, report: Report | None) -> None:
    digest = Digest.of(manifest.to_bytes())
    if report is not None and report.bundle_digest != digest:
        raise UsageError(
            f"expected the report of the bundle {digest.short}, found that of {report.bundle_digest.short}"
        )
