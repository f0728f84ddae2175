"""The guides as patches, and the repository that they are applied to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "migration"
REPLICA = Path(__file__).with_name("replica_before")
SERVICES = {"sql_generator": "frontend/sql_generator", "thoth_be": "backend"}
"""The guides, in the order in which they are followed, and the directory of the service of each."""

_BLOCK = re.compile(r"^```diff ?(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def diffs(guide: str, kind: str = "") -> list[str]:
    """Return the diffs of a guide, in its order: the migration, or those of another kind, which its fence names."""
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    return [match["body"] for match in _BLOCK.finditer(text) if match["kind"] == kind]


def paths_of(diff: str) -> set[str]:
    """Return the files that a diff makes or changes."""
    return {line.removeprefix("+++ b/") for line in diff.splitlines() if line.startswith("+++ b/")}


def copy_of(place: Path) -> Path:
    """Return a copy of the repository as it was before."""
    shutil.copytree(REPLICA, place, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    return place


def apply(diff: str, tree: Path) -> None:
    """Apply one diff as a reader would, without any fuzz."""
    # Outside of any repository: in one, git leaves out what lies beside its working tree, and says nothing.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(
        ["git", "apply", "--verbose", "-"],
        input=diff,
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{diff}"
    assert done.stderr.count("Applied patch") == len(paths_of(diff)), done.stderr


def migrated(place: Path) -> Path:
    """Return a copy of the repository in which both guides were followed."""
    tree = copy_of(place)
    for guide in SERVICES:
        for diff in diffs(guide):
            apply(diff, tree)
    return tree
