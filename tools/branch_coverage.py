"""Check the branch coverage of each package: ``python tools/branch_coverage.py COVERAGE.json LEAST``.

The limit of coverage itself counts lines and branches together, and both packages together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("thoth_models", "thoth_models_builder")


def branches_of(files: dict[str, Any], package: str) -> tuple[int, int]:
    """Return how many branches of a package were taken, and how many it has.

    Args:
        files: The ``files`` object of ``coverage json``, by path.
        package: Name of the package.
    """
    summaries = [facts["summary"] for path, facts in files.items() if package in Path(path).parts]
    return sum(one["covered_branches"] for one in summaries), sum(one["num_branches"] for one in summaries)


def main(report: str, least: str) -> int:
    """Print the share of each package; return 1 if one is below ``least`` percent, or was not measured."""
    files = json.loads(Path(report).read_bytes())["files"]
    is_enough = True
    for package in PACKAGES:
        taken, there = branches_of(files, package)
        share = 100 * taken / there if there else 0.0
        is_enough = is_enough and share >= float(least)
        sys.stdout.write(f"{package}: {taken} of {there} branches, {share:.1f} % (at least {least} %)\n")
    return 0 if is_enough else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
