"""`thoth-bundle init | add | remove | outdated`, as they are typed: output, JSON, exit codes and the next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.hub_simulator import Status
from tests.support.projects import COMMIT, FAST_OPTIONS, Project, model_files, write_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.builder_fixtures import Outcome
    from tests.support.hub_simulator import HubSimulator

BGE = "BAAI/bge-small-en-v1.5"
NEWER = "b" * 40


@pytest.fixture
def here(project: Project, hub: HubSimulator, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty directory, the current one, and a Hub with one model."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("THOTH_STORE", str(project.root.parent / "store"))
    hub.add_model(BGE, model_files("bge"), revision=COMMIT)
    return project


def hub_model(revision: str) -> dict[str, object]:
    return {"sources": [{"hub": BGE, "revision": revision}]}


@pytest.mark.parametrize("verb", ["lock", "build"])
def test_the_first_command_in_an_empty_directory(verb: str, here: Project, command: Callable[..., Outcome]) -> None:
    outcome = command(verb)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "thoth-bundle: models.yaml: 1 error\n"
        "  the document: expected the list of models to ship, found no such file\n"
        "hint: `thoth-bundle init` writes a first one, and `thoth-bundle add ORG/NAME` one with a model of the Hub\n"
    )
    assert list(here.root.iterdir()) == []


def test_init(here: Project, command: Callable[..., Outcome]) -> None:
    outcome = command("init")
    assert (outcome.code, outcome.out) == (0, "models.yaml: written\n")
    assert outcome.err == "hint: run `thoth-bundle lock`, then `thoth-bundle build`\n"
    outcome = command("init")
    assert outcome.code == 2
    assert outcome.err.startswith("thoth-bundle: models.yaml: expected no file yet, found one")


def test_add_and_remove(here: Project, command: Callable[..., Outcome]) -> None:
    outcome = command("add", BGE, "--variant=torch-fp32", *FAST_OPTIONS)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"bge-small-en-v1-5: added from hub:{BGE}@{COMMIT}, 10 files, ")
    assert lines[1:] == ["  left out: README.md (documentation)", "models.yaml: written", "models.lock: fits"]
    assert outcome.err.splitlines()[-1] == "hint: `thoth-bundle build` makes the bundle"
    before = here.file.read_bytes(), here.lock_file.read_bytes()
    write_files(here.root / "ours", model_files("ours"))
    assert command("add", "./ours", "--alias=theirs").out.splitlines()[-2:] == [
        "models.yaml: changed",
        "models.lock: fits",
    ]
    assert command("lock", "--check").code == 0
    removed = command("remove", "ours")
    assert removed.err == "hint: `thoth-bundle build` makes the bundle without it\n"
    assert (removed.code, removed.out) == (0, "ours: removed\nmodels.yaml: changed\nmodels.lock: fits\n")
    assert (here.file.read_bytes(), here.lock_file.read_bytes()) == before


def test_a_lock_that_does_not_fit_yet(here: Project, command: Callable[..., Outcome]) -> None:
    command("init")
    outcome = command("add", BGE, *FAST_OPTIONS)
    assert outcome.code == 0
    assert outcome.out.endswith("models.lock: does not fit yet\nmini: expected an entry, found none\n")
    assert outcome.err.splitlines()[-1].startswith("hint: run `thoth-bundle lock`")


def test_the_same_as_json(here: Project, command: Callable[..., Outcome]) -> None:
    document = json.loads(command("add", BGE, "--json", *FAST_OPTIONS).out)
    assert (document["ok"], document["is_new"], document["differences"]) == (True, True, [])
    assert document["sources"] == {"bge-small-en-v1-5": f"hub:{BGE}@{COMMIT}"}
    refused = command("remove", "bge-small-en-v1-5", "--json")
    assert (refused.code, json.loads(refused.out)["error"]) == (2, "UsageError")


def test_a_source_that_fails(here: Project, hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    hub.fault("api", Status(503))
    outcome = command("add", BGE, *FAST_OPTIONS)
    assert outcome.code == 3
    assert "; nothing was written\nhint: check network, proxy, HF_ENDPOINT and HF_TOKEN" in outcome.err
    assert list(here.root.iterdir()) == []


def test_outdated(here: Project, hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    write_files(here.root / "ours", model_files("ours"))
    command("add", BGE, *FAST_OPTIONS)
    command("add", "./ours")
    outcome = command("outdated", "--check", *FAST_OPTIONS)
    assert (outcome.code, outcome.out) == (
        0,
        f"bge-small-en-v1-5: current, main is {COMMIT}\nours: not asked, because directory:ours has no commits\n",
    )
    hub.add_model(BGE, {**model_files("bge"), "vocab.txt": b"other"}, revision=NEWER)
    outcome = command("outdated", *FAST_OPTIONS)
    assert outcome.code == 0
    assert outcome.out.startswith(
        f"bge-small-en-v1-5: main is {NEWER}: a new space: an index must be made again\n  ~ vocab.txt\n"
    )
    assert "hint: write the commit as `revision` in models.yaml, then run `thoth-bundle lock`\n" in outcome.err
    outcome = command("outdated", "--check", "--json", *FAST_OPTIONS)
    document = json.loads(outcome.out)
    assert (outcome.code, document["ok"]) == (1, True)
    first = document["models"][0]
    assert (first["state"], first["changed"], first["is_outdated"]) == ("new space", ["vocab.txt"], True)


def test_outdated_after_the_same_vectors(here: Project, hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    command("add", BGE, *FAST_OPTIONS)
    hub.add_model(BGE, {**model_files("bge"), "README.md": b"x"}, revision=NEWER)
    assert command("outdated", *FAST_OPTIONS).out == f"bge-small-en-v1-5: main is {NEWER}: the same vectors\n"


def test_outdated_without_an_answer(here: Project, hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    command("add", BGE, *FAST_OPTIONS)
    hub.fault("api", Status(503))
    outcome = command("outdated", "--check", *FAST_OPTIONS)
    assert outcome.code == 3
    assert outcome.out.startswith("bge-small-en-v1-5: unknown: expected ")
    assert "hint: check network" in outcome.err
    assert not json.loads(command("outdated", "--json", *FAST_OPTIONS).out)["ok"]


def test_a_refused_commit_is_named(here: Project, hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    command("add", BGE, *FAST_OPTIONS)
    files = {path: data for path, data in model_files("bge").items() if path != "model.safetensors"}
    hub.add_model(BGE, files, revision=NEWER)
    outcome = command("outdated", *FAST_OPTIONS)
    assert outcome.out.startswith(f"bge-small-en-v1-5: main is {NEWER}, which a bundle cannot contain: ")
    assert "hint:" not in outcome.err  # `lock` would refuse it as well


@pytest.mark.parametrize("is_refused", [False, True])
def test_the_next_step_for_a_branch_is_lock_unless_it_would_fail(
    *, is_refused: bool, here: Project, hub: HubSimulator, command: Callable[..., Outcome]
) -> None:
    here.specify({"pinned": hub_model(COMMIT), "other": hub_model("main")})
    here.lock()
    files = {**model_files("bge"), "vocab.txt": b"other"}
    if is_refused:
        del files["model.safetensors"]
    hub.add_model(BGE, files, revision=NEWER)
    hint = command("outdated", *FAST_OPTIONS).err
    assert ("write the commit as `revision`" in hint) is not is_refused
    here.specify({"other": hub_model("main")})
    hub.add_model(BGE, model_files("bge"), revision=COMMIT)
    here.lock()
    hub.add_model(BGE, files, revision=NEWER)
    hint = command("outdated", *FAST_OPTIONS).err
    assert ("hint: run `thoth-bundle lock`, and review" in hint) is not is_refused
    assert "write the commit" not in hint
