"""Read ``report.json`` beside a bundle: with a size limit, and ignored with a note if it is another bundle's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.report import REPORT_SUFFIX, Report
from thoth_models.verification.entries import reason
from thoth_models.verification.regular_file import NotRegularError, RegularFile

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.digest import Digest

MAX_REPORT: Final = 4 * 1024 * 1024
"""Maximum size of a report in bytes; a real one has some hundred for each variant."""


def report_path(root: Path) -> Path:
    """Return the path of the report of the bundle at ``root``, whether it exists or not."""
    return root.parent / f"{root.name}{REPORT_SUFFIX}"


class FoundReport(NamedTuple):
    """The report of a bundle, or None; and why an existing one was ignored, or None."""

    report: Report | None
    note: str | None


def read_report(root: Path, bundle_digest: Digest) -> FoundReport:
    """Read the report of the bundle at ``root``, which must be free of symlinks, as :func:`open_bundle` returns it.

    A report is not verified: it is only shown to people, and loading does not depend on it. So a report that cannot be
    read, or that belongs to another bundle, gives a note, not an error.
    """
    path = report_path(root)
    try:
        report = _read(path)
    except FileNotFoundError:
        return FoundReport(None, None)
    except (OSError, FormatError) as error:
        what = f"expected a readable file, found: {reason(error)}" if isinstance(error, OSError) else str(error)
        return FoundReport(None, f"{path}: ignored: {what}")
    if report.bundle_digest != bundle_digest:
        what = f"expected the report of the bundle {bundle_digest.short}, found that of {report.bundle_digest.short}"
        return FoundReport(None, f"{path}: ignored: {what}")
    return FoundReport(report, None)


def _read(path: Path) -> Report:
    try:
        with RegularFile(path.parent, path.name) as file:
            if file.size > MAX_REPORT:
                raise FormatError(f"expected at most {MAX_REPORT} bytes, found {file.size}")
            data = os.pread(file.descriptor, file.size, 0)
    except NotRegularError as error:
        raise FormatError(f"expected a regular file, found {error}") from error
    return Report.from_bytes(data)
