"""What pages and Dockerfiles begin with is what the README's command makes: the names and tags of images agree."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PLACEHOLDERS = {"TAG"}
"""Not names of images but of what a reader puts in."""

PATTERN = re.compile(r"(?<![\w/.-])thoth-models:(\w[\w.-]*)")
"""An image of the local engine; ``ghcr.io/acme/thoth-models:1`` is somebody's own."""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("docker_load", ROOT / "docker" / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The engine: it has the base image, with Python 3.11.
    monkeypatch.setattr(module, "_output", lambda *_command: '["3.11", "2.36", "x86_64"]')
    return module


def pages() -> Iterator[tuple[str, str]]:
    yield "README.md", (ROOT / "README.md").read_text(encoding="utf-8")
    for place in ("docs", "docker"):
        for path in sorted((ROOT / place).rglob("*")):
            if path.is_file() and (path.suffix in (".md", ".yaml") or "Dockerfile" in path.name):
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_every_tag_of_a_page_is_one_that_is_made(load: Any) -> None:
    made = {load.LATEST, load.FIRST}
    found = {(page, tag) for page, text in pages() for tag in PATTERN.findall(text)}
    assert {tag for _, tag in found} >= made
    assert {(page, tag) for page, tag in found if tag not in made | PLACEHOLDERS} == set()


def test_another_tag_would_be_seen() -> None:
    text = "FROM thoth-models:2\n`thoth-models:1.5` ghcr.io/acme/thoth-models:3 registry:localhost/thoth-models:4"
    assert PATTERN.findall(text) == ["2", "1.5"]
    assert PATTERN.findall("COPY --from=thoth-models:7 / thoth-models: expected") == ["7"]


def loading(load: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[list[str]]:
    steps: list[list[str]] = []

    def run(step: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        steps.append(step)
        return subprocess.CompletedProcess(step, 0)

    monkeypatch.setattr(load.subprocess, "run", run)
    assert load.main(arguments) == 0
    return steps


def test_the_image_gets_both_tags(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"bundle": {"name": "thoth-models"}}), encoding="utf-8")
    *_, image, tag = loading(load, monkeypatch, str(tmp_path))
    assert image[-2:] == ["--to", "docker"]
    assert tag == ["docker", "tag", "thoth-models:latest", "thoth-models:1"]


def test_a_destination_gets_no_other_tag(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = loading(load, monkeypatch, str(tmp_path), "--to", "docker:x:y")
    assert steps[-1][-2:] == ["--to", "docker:x:y"]
