"""Write ``report.json`` beside a bundle, with the measured figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from thoth_models.bundle.report import Report
from thoth_models.verification.report_file import MAX_REPORT, read_report, report_path
from thoth_models_builder.errors import OutputError
from thoth_models_builder.storage.files import open_regular, replace_file, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from thoth_models.bundle.accuracy import Accuracy
    from thoth_models.bundle.digest import Digest


def refuse_foreign_report(output: Path) -> None:
    """Refuse a file in the place of the report that no release wrote, because :func:`write_report` replaces it.

    Raises:
        OutputError: There is such a file, or it cannot be read.
    """
    path = report_path(output.resolve())
    found = "another file"
    try:
        if path.is_symlink():
            found = "a symlink"
        else:
            with open_regular(path) as file:
                document = json.loads(file.read(MAX_REPORT))
            if isinstance(document, dict) and document.keys() >= {"version", "bundle_digest", "models"}:
                return
    except FileNotFoundError:
        return
    except OSError as error:
        found = error.strerror or str(error)
    except (ValueError, RecursionError):
        pass  # not JSON
    raise OutputError(f"{path}: expected the report of an earlier build or no file, found {found}")


def write_report(output: Path, bundle_digest: Digest, figures: Mapping[str, Mapping[str, Accuracy]]) -> Path | None:
    """Write the report of the bundle at ``output``, unless it has the same content already.

    Args:
        output: The bundle directory.
        bundle_digest: Its digest.
        figures: Measured figures, by model and variant; models without figures are left out.

    Returns:
        The path of the report, or None for a bundle without figures.

    Raises:
        OutputError: The report cannot be written.
    """
    root = output.resolve()
    path = report_path(root)
    report = Report(bundle_digest=bundle_digest, models={name: found for name, found in figures.items() if found})
    if read_report(root, bundle_digest).report == report:
        return path
    with writing(path):
        if not report.models:
            # An existing report belongs to the previous bundle, and would be ignored with a note each time.
            if path.exists():  # a directory that may only be read refuses to remove even what is not there
                path.unlink()
            return None
        replace_file(path, report.to_bytes())
    return path
