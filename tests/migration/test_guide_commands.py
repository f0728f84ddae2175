"""The commands of the guides, run as they are printed where that needs neither an engine nor ThothAI's images."""

from __future__ import annotations

import filecmp
import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.migration.guides import GUIDES, ROOT, SERVICES, copy_of, diffs, migrated
from tests.operations.gating import RIGHT, serving, shell

if TYPE_CHECKING:
    import subprocess

DIGEST = "5a" * 32
DOCKER = f"""#!/bin/sh
echo "docker $*" >> "$CALLS"
case "$*" in
  *sha256sum*) echo "{DIGEST}  /models/manifest.json";;
  "image inspect "*) grep -qx "docker tag .* $3" "$CALLS";;
esac
"""
"""An engine that writes down what it is asked, and has the tags that it was given."""


def blocks(page: str, containing: str) -> list[str]:
    """Return the commands of each console block of a page that has a text, as a script."""
    text = (GUIDES / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    commands = (re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE) for block in found if containing in block)
    return ["\n".join(["set -e", *lines]) for lines in commands]


def shorter(command: str, url: str) -> str:
    """Return a gate's command for a server of this computer, with as many requests in less time."""
    command = re.sub(r"http://127\.0\.0\.1:\d+/", url, command)
    return re.sub(r"--rate \d+", "--rate 20", re.sub(r"--for \d+m", "--for 1.5s", command))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A clone of ThothAI's repository as the guides meet it, beside a checkout of this one."""
    (tmp_path / "thoth-models").symlink_to(ROOT)
    (programs := tmp_path / "programs").mkdir()
    for name, text in (("docker", DOCKER), ("mail", '#!/bin/sh\necho "mail $*" >> "$CALLS"\n')):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    return copy_of(tmp_path / "thothai")


def run(script: str, place: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a script in the clone; return what became of it, and what it asked of the engine."""
    calls = place.parent / "calls"
    calls.touch()
    programs = [str(place.parent / "programs"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(programs), "CALLS": str(calls)}
    environment["GIT_CEILING_DIRECTORIES"] = str(place.parent)
    done = shell(script, place, environment)
    return done, calls.read_text(encoding="utf-8").splitlines()


def test_one_command_applies_all_diffs(place: Path, tmp_path: Path) -> None:
    (script,) = blocks("README", "git apply")
    switch, apply = re.findall(r"^(?:git switch.*|awk(?:.*\\\n)*.*)$", script, re.MULTILINE)
    assert switch.startswith("git switch")
    done, _ = run(apply, place)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Applied patch") == sum(len(diffs(guide)) for guide in SERVICES)
    expected = migrated(tmp_path / "expected")

    def files(tree: Path) -> set[str]:
        return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}

    assert files(place) == files(expected)
    assert filecmp.cmpfiles(place, expected, files(expected), shallow=False)[1:] == ([], [])


def test_the_former_images_keep_a_name_and_get_the_old_one_back(place: Path) -> None:
    (build,) = blocks("sql_generator", "docker compose build")
    for _ in range(2):  # a second build must not take the new image for the former one
        done, calls = run(build, place)
        assert done.returncode == 0, done.stderr
    assert [call for call in calls if " tag " in call or "compose" in call] == [
        "docker tag thoth-backend:latest thoth-backend:before",
        "docker tag thoth-sql-generator:latest thoth-sql-generator:before",
        "docker compose build sql-generator",
        "docker compose build sql-generator",
    ]
    (back,) = blocks("thoth_be", ":before $image:latest")
    done, calls = run(back, place)
    assert (done.returncode, calls[-4:-2]) == (
        0,
        [
            "docker tag thoth-backend:before thoth-backend:latest",
            "docker tag thoth-sql-generator:before thoth-sql-generator:latest",
        ],
    )


def test_the_proxy_looks_up_the_addresses_after_each_start() -> None:
    starts = blocks("thoth_be", "docker compose up")
    assert len(starts) == 4
    for script in starts:
        (up,) = [number for number, line in enumerate(script.splitlines()) if line.startswith("docker compose up")]
        assert script.splitlines()[up + 1] == "docker compose restart proxy"


def test_the_options_of_the_copy_are_those_of_the_command() -> None:
    (command,) = [diff for diff in diffs("thoth_be") if "copy_collection.py" in diff]
    known = set(re.findall(r'add_argument\("(--[\w-]+)"', command))
    used = set()
    for page in ("README", "thoth_be"):
        text = (GUIDES / f"{page}.md").read_text(encoding="utf-8")
        used |= set(re.findall(r" (--[\w-]+)", " ".join(re.findall(r"copy_collection( --[^`'|\n]*)", text))))
    assert used == known


@pytest.mark.parametrize("page", ["sql_generator", "thoth_be"])
def test_the_gates_of_a_guide_pass(page: str, place: Path) -> None:
    (script,) = blocks(page, "python3 -m gates")
    answer = json.dumps({"ready": True, "degraded": None, "bundle_digest": DIGEST}).encode()
    with serving(lambda number, body: (200, answer)) as url:
        done, _ = run(shorter(script, url), place)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alert_of_the_plan_says_what_the_gate_ended_with(place: Path) -> None:
    page = (GUIDES / "the-plan.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^```text\n(.*)\n```$", page, re.MULTILINE)
    assert "%" not in line  # cron would end the command there
    command = line.removeprefix("*/10 * * * * ").replace("/srv/operations", str(ROOT / "operations"))
    assert command != line
    for name, answer, expected in (
        ("right", RIGHT, []),
        ("wrong", (503, b"busy"), ["mail -s sql_generator: the gate ended with 1 root"]),
    ):
        with serving(functools.partial(lambda given, number, body: given, answer)) as url:
            log = place / f"{name}.log"
            done, calls = run(shorter(command.replace("gate.log", str(log)), url), place)
        assert (done.returncode, calls) == (0, expected), log.read_text(encoding="utf-8")
