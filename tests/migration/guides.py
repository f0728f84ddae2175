"""The guides as patches, and the services that they are applied to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.projects import environment_of_children

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "migration"
REPLICA = Path(__file__).with_name("replica_before")
WATCHING = Path(__file__).with_name("watching")
SERVICES = ("sql_generator", "thoth_be")
MODEL = "all-MiniLM-L6-v2"

_BLOCK = re.compile(r"^```diff ?(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = 600
_HUB_VARIABLES = ("HF_", "TRANSFORMERS_", "SENTENCE_TRANSFORMERS_", "THOTH_", "EMBEDDING_")


def diffs(service: str, kind: str = "") -> list[str]:
    """Return the diffs of a guide, in its order: the migration, or those of another kind, which its fence names.

    ``alternative`` may take the place of one of the migration; ``switch`` goes on top of it.
    """
    text = (GUIDES / f"{service}.md").read_text(encoding="utf-8")
    return [match["body"] for match in _BLOCK.finditer(text) if match["kind"] == kind]


def paths_of(diff: str) -> set[str]:
    """Return the files that a diff makes or changes."""
    return {line.removeprefix("+++ b/") for line in diff.splitlines() if line.startswith("+++ b/")}


def copy_of(service: str, place: Path) -> Path:
    """Return a copy of a service as it was before."""
    target = place / service
    shutil.copytree(REPLICA / service, target, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    return target


def apply(diff: str, service: Path) -> None:
    """Apply one diff as a reader would, without any fuzz."""
    # Outside of any repository: in one, git leaves out what lies beside its working tree, and says nothing.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(service.parent)}
    done = subprocess.run(
        ["git", "apply", "--verbose", "-"],
        input=diff,
        cwd=service,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{diff}"
    assert done.stderr.count("Applied patch") == len(paths_of(diff)), done.stderr


@dataclass(frozen=True)
class Surroundings:
    """Where a service runs.

    Attributes:
        endpoint: The address of the hub that it would ask.
        scratch: A directory for caches and reports.
        is_offline: Whether its connections are forbidden; they are written down anyhow.
        more: Further variables of its environment.
    """

    endpoint: str
    scratch: Path
    is_offline: bool
    more: dict[str, str] = field(default_factory=dict)

    @property
    def connections_file(self) -> Path:
        return self.scratch / "connections"

    def environment(self) -> dict[str, str]:
        inherited = environment_of_children()
        kept = {name: value for name, value in inherited.items() if not name.startswith(_HUB_VARIABLES)}
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join([str(WATCHING), inherited["PYTHONPATH"]]),
            "CONNECTIONS": "forbidden" if self.is_offline else "counted",
            "CONNECTIONS_FILE": str(self.connections_file),
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.scratch / "hub"),
            "NO_PROXY": "127.0.0.1",
            "EMBEDDING_MODEL": MODEL,
            "RANKINGS_FILE": str(self.scratch / "rankings.json"),
            **self.more,
        }

    def run(self, service: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a service's directory."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=service,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def run_tests(self, service: Path) -> subprocess.CompletedProcess[str]:
        """Run the service's own tests."""
        return self.run(service, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests")

    def rankings(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.scratch / "rankings.json").read_text(encoding="utf-8"))
        return found

    def connections(self) -> list[str]:
        """Return what watched processes tried to connect to or to look up."""
        return [line for line in self._lines() if not line.startswith("watching ")]

    def watched(self) -> list[str]:
        """Return the processes that were watched."""
        return [line for line in self._lines() if line.startswith("watching ")]

    def _lines(self) -> list[str]:
        return self.connections_file.read_text(encoding="utf-8").splitlines()
