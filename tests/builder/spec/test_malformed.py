"""Each file in malformed/ begins with what its report must say, one finding a line, after ``#>``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import Project, model_files, run_builder, snapshot, write_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.builder_fixtures import Outcome
    from tests.support.projects import Entry

FILES = sorted((Path(__file__).parent / "malformed").glob("*.yaml"))
HINT = "hint: docs/models-yaml.md has every key, and `thoth-bundle schema` prints the schema for editors"
THROUGH_A_PROCESS = ("empty", "control_character", "everything_at_once")


def expected_findings(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.removeprefix("#> ") for line in lines if line.startswith("#> ")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a lock, a store and a bundle, whose models.yaml the tests spoil."""
    project = Project(tmp_path_factory.mktemp("built"))
    write_files(project.root / "models/mini", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "models/mini"}]}})
    project.lock()
    project.build()
    yield project
    make_writable(project.root)


def spoil(project: Project, file: Path) -> dict[str, Entry]:
    project.file.write_bytes(file.read_bytes())
    return snapshot(project.root)


def check_report(report: str, project: Project, file: Path) -> None:
    first, *findings, hint = report.splitlines()
    assert hint == HINT
    expected = expected_findings(file)
    assert first == f"thoth-bundle: {project.file}: {len(expected)} error{'' if len(expected) == 1 else 's'}"
    assert len(findings) == len(expected)
    for found, start in zip(findings, expected, strict=True):
        assert found.startswith(f"  {start}")
        assert found.isprintable()
    assert "Traceback" not in report


def test_there_are_many_and_each_says_what_is_wrong_with_it() -> None:
    assert len(FILES) >= 25
    assert all(expected_findings(file) for file in FILES)


@pytest.mark.hostile
@pytest.mark.parametrize("verb", ["build", "lock"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_malformed_models_yaml_gives_one_report_and_touches_nothing(
    file: Path, verb: str, built: Project, command: Callable[..., Outcome]
) -> None:
    before = spoil(built, file)
    outcome = command(*built.arguments(verb))
    assert outcome.code == 2
    assert outcome.out == ""
    check_report(outcome.err, built, file)
    assert snapshot(built.root) == before
    assert {"bundle/manifest.json", "models.lock", "store/objects"} <= before.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_report_as_json_names_line_and_key_path(
    file: Path, built: Project, command: Callable[..., Outcome]
) -> None:
    spoil(built, file)
    outcome = command(*built.arguments("lock", "--check", "--json"))
    assert outcome.code == 2
    assert outcome.err == ""
    document = json.loads(outcome.out)
    assert (document["ok"], document["error"]) == (False, "SpecError")
    lines = [
        f"line {finding['line']}: {finding['path'] or 'the document'}: {finding['message']}"
        for finding in document["findings"]
    ]
    assert all(found.startswith(start) for found, start in zip(lines, expected_findings(file), strict=True))


@pytest.mark.parametrize("verb", ["build", "lock"])
@pytest.mark.parametrize("name", THROUGH_A_PROCESS)
def test_the_same_through_a_process_of_its_own(name: str, verb: str, built: Project) -> None:
    file = Path(__file__).parent / "malformed" / f"{name}.yaml"
    before = spoil(built, file)
    finished = run_builder(*built.arguments(verb))
    assert finished.returncode == 2
    assert finished.stdout == ""
    check_report(finished.stderr, built, file)
    assert snapshot(built.root) == before


@pytest.mark.parametrize("verb", ["build", "lock"])
def test_a_file_that_is_too_large_or_missing_is_reported_the_same_way(
    verb: str, built: Project, command: Callable[..., Outcome]
) -> None:
    built.file.write_bytes(b"#" * 2_000_000)
    before = snapshot(built.root)
    outcome = command(*built.arguments(verb))
    assert outcome.code == 2
    assert outcome.err == (
        f"thoth-bundle: {built.file}: 1 error\n  the document: expected at most 1048576 bytes, found 2000000\n{HINT}\n"
    )
    assert snapshot(built.root) == before
    built.file.unlink()
    outcome = command(*built.arguments(verb))
    assert outcome.code == 2
    assert outcome.err == (
        f"thoth-bundle: {built.file}: 1 error\n"
        "  the document: expected the list of models to ship, found no such file\n"
        "hint: `thoth-bundle init` writes a first one, and `thoth-bundle add ORG/NAME` one with a model of the Hub\n"
    )
