from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.hub_simulator import HubSimulator, Silence, SlowDrip, Status
from tests.support.projects import (
    COMMIT,
    FAST,
    NEEDED,
    Project,
    contents,
    model_files,
    write_files,
    write_wheel,
)

if TYPE_CHECKING:
    from pathlib import Path


OTHER_COMMIT = "b" * 40
PINNED = {"hub": "org/mini", "revision": COMMIT}
WHEEL = {"wheel": "some-mini==0.1.0", "path": "some_mini/model"}


def test_a_mirror_that_lists_no_sizes_gives_the_same_lock(
    hub: HubSimulator, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock()
    expected = project.lock_file.read_bytes()
    project.lock_file.unlink()
    with HubSimulator(sizes_by="paths-info") as mirror:
        mirror.add_model("org/mini", model_files("mini"), revision=COMMIT)
        monkeypatch.setenv("HF_ENDPOINT", mirror.endpoint)
        # Weights are larger than what is taken without a stated size.
        monkeypatch.setattr("thoth_models_builder.storage.store._MAX_UNKNOWN_SIZE", 10)
        assert [model.state for model in project.lock().models] == ["resolved"]
    assert project.lock_file.read_bytes() == expected


# --- sources that do not answer ---


def test_what_cannot_be_asked_keeps_its_entry_and_the_report_says_so(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    hub.add_model("org/other", model_files("other"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}, "other": {"sources": [{**PINNED, "hub": "org/other"}]}})
    project.lock()
    before = project.lock_file.read_bytes()
    hub.fault("api", Status(503))
    report = project.lock()
    assert project.lock_file.read_bytes() == before
    assert not report.is_rewritten
    assert report.differences == ()
    assert [model.state for model in report.models] == ["kept", "kept"]
    assert report.models[0].files == len(NEEDED)
    first, second = (model.attempts[0] for model in report.models)
    assert (first.model, first.path) == ("mini", None)
    assert "503" in first.reason
    assert "not asked again" in second.reason


def test_no_lock_is_written_where_nothing_was_resolved(hub: HubSimulator, project: Project) -> None:
    hub.fault("api", Status(503))
    project.specify({"mini": {"sources": [PINNED]}})
    report = project.lock()
    assert [model.state for model in report.models] == ["missing"]
    assert not report.is_rewritten
    assert not project.lock_file.exists()


def test_an_entry_that_no_longer_fits_is_kept_and_reported_as_such(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock()
    before = project.lock_file.read_bytes()
    project.specify({"mini": {"sources": [{"hub": "org/renamed", "revision": COMMIT}]}})
    report = project.lock()
    assert report.models[0].state == "kept"
    assert report.differences == (f"mini: sources: expected hub:org/renamed@{COMMIT}, found hub:org/mini@{COMMIT}",)
    assert project.lock_file.read_bytes() == before


def test_a_model_that_was_never_locked_is_missing_and_the_others_are_written(
    hub: HubSimulator, project: Project
) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}, "new": {"sources": [{"hub": "org/new"}]}})
    report = project.lock()
    assert [model.state for model in report.models] == ["resolved", "missing"]
    assert report.differences == ("new: expected an entry, found none",)
    assert list(project.locked().models) == ["mini"]


def test_a_model_that_is_gone_from_the_list_is_removed(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}, "old": {"sources": [PINNED]}})
    project.lock()
    project.specify({"mini": {"sources": [PINNED]}})
    report = project.lock()
    assert [(model.name, model.state) for model in report.models] == [("mini", "unchanged"), ("old", "removed")]
    assert list(project.locked().models) == ["mini"]


@pytest.mark.hostile
@pytest.mark.parametrize("fault", [Silence(), SlowDrip(5)])
def test_a_hub_that_never_finishes_its_answer_is_a_failed_attempt(
    fault: Silence | SlowDrip, hub: HubSimulator, project: Project
) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    hub.fault("api", fault)
    project.specify({"mini": {"sources": [PINNED]}})
    report = project.lock(limits=replace(FAST, read=0.3, attempts=1, file_deadline=1.0))
    assert report.models[0].state == "missing"
    assert report.models[0].attempts


@pytest.mark.parametrize("repository", ["org/mini--x", "org/a..b", "org/mini.git", "org/mini-"])
def test_an_id_that_no_hub_can_have_says_nothing_about_the_other_models(
    repository: str, hub: HubSimulator, project: Project
) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"impossible": {"sources": [{**PINNED, "hub": repository}]}, "mini": {"sources": [PINNED]}})
    impossible, mini = project.lock().models
    assert impossible.attempts[0].reason == f"expected a repository id that the Hub can have, found {repository!r}"
    assert (impossible.state, mini.state) == ("missing", "resolved")


# --- mirrors ---


def test_a_mirror_speaks_for_a_pinned_origin(no_hub: None, find_links: Path, project: Project) -> None:
    files = model_files("mini")
    write_wheel(find_links, "some-mini", "0.1.0", "some_mini/model", files)
    project.specify({"mini": {"sources": [PINNED, WHEEL]}})
    (model,) = project.lock().models
    assert (model.state, model.source) == ("resolved", "wheel:some-mini==0.1.0!some_mini/model")
    assert model.attempts[0].source == f"hub:org/mini@{COMMIT}"
    locked = project.locked().models["mini"]
    assert locked.revision == COMMIT
    assert str(locked.origin) == f"hub:org/mini@{COMMIT}"
    assert [file.path for file in locked.files] == list(NEEDED)
    assert {file.blob_id for file in locked.files} == {None}
    assert locked.license == "apache-2.0"


@pytest.mark.hostile
@pytest.mark.parametrize("revision", ["main", COMMIT[:12]])
def test_a_mirror_does_not_speak_for_a_branch_whose_commit_only_the_origin_knows(
    revision: str, no_hub: None, project: Project
) -> None:
    write_files(project.root / "mirror", model_files("mini"))
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": revision}, {"directory": "mirror"}]}})
    (model,) = project.lock().models
    assert model.state == "missing"
    assert [attempt.source for attempt in model.attempts] == [f"hub:org/mini@{revision}"]


@pytest.mark.hostile
def test_a_mirror_does_not_replace_an_entry_that_fits(
    hub: HubSimulator, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    write_files(project.root / "mirror", model_files("another"))
    project.specify({"mini": {"sources": [PINNED, {"directory": "mirror"}]}})
    project.lock()
    before = project.lock_file.read_bytes()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert project.lock().models[0].state == "kept"
    assert project.lock_file.read_bytes() == before


def test_a_directory_as_the_origin_has_no_commit_whoever_speaks_for_it(hub: HubSimulator, project: Project) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT)
    project.specify({"mini": {"sources": [{"directory": "model"}, PINNED]}})
    assert project.lock().models[0].source == f"hub:org/mini@{COMMIT}"
    assert project.locked().models["mini"].revision is None
    write_files(project.root / "model", files)
    assert project.lock().models[0].source == "directory:model"
    assert project.locked().models["mini"].revision is None


def test_a_directory_is_locked_by_reading_it(project: Project) -> None:
    files = model_files("mini")
    write_files(project.root / "model", files)
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    assert project.lock().models[0].state == "resolved"
    locked = project.locked().models["mini"]
    assert {file.path: file.sha256.hex for file in locked.files} == {
        path: hashlib.sha256(files[path]).hexdigest() for path in NEEDED
    }
    assert all(b"license" not in data for path, data in contents(project.store).items() if "README" in path)
    assert locked.license == "apache-2.0"


@pytest.mark.hostile
@pytest.mark.parametrize(
    "stated", ['"\\ud800"', '"x\\ud800y"', "!!bool perhaps", "!!int ''", "!!timestamp today", '"\\UFFFFFFFF"', "[mit]"]
)
def test_a_licence_that_no_lock_can_hold_counts_as_not_stated(stated: str, project: Project) -> None:
    card = f"---\nlicense: {stated}\n---\n".encode()
    write_files(project.root / "model", {**model_files("mini"), "README.md": card})
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    project.lock()
    assert project.locked().models["mini"].license is None
