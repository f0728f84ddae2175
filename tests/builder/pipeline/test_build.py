from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit, make_writable
from tests.support.hub_simulator import HubSimulator, Status, WrongBytes
from tests.support.projects import (
    COMMIT,
    NEEDED,
    Project,
    contents,
    is_intact,
    model_files,
    snapshot,
    sources_of,
    write_files,
    write_wheel,
)
from thoth_models_builder.errors import (
    AlternateError,
    LockError,
    LockOutOfDateError,
    OutputError,
    SourcesFailedError,
    SpecError,
    StoreError,
    UnsupportedModelError,
)

if TYPE_CHECKING:
    from pathlib import Path


HUB = {"hub": "org/mini", "revision": COMMIT}
WHEEL = {"wheel": "some-mini==0.1.0", "path": "some_mini/model"}
DIRECTORY = {"directory": "model"}


# --- from each kind of source ---


@pytest.mark.parametrize("kind", ["hub", "wheel", "directory"])
def test_a_bundle_from_each_kind_of_source(kind: str, project: Project, hub: HubSimulator, find_links: Path) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT)
    write_wheel(find_links, "some-mini", "0.1.0", "some_mini/model", files)
    write_files(project.root / "model", files)
    source = {"hub": HUB, "wheel": WHEEL, "directory": DIRECTORY}[kind]
    project.specify({"mini": {"sources": [source]}})
    project.lock()
    shutil.rmtree(project.store)
    report = project.build()
    label = {
        "hub": f"hub:org/mini@{COMMIT}",
        "wheel": "wheel:some-mini==0.1.0!some_mini/model",
        "directory": "directory:model",
    }[kind]
    assert sources_of(report, "mini") == {label}
    assert report.attempts == ()
    assert not report.is_unchanged
    assert report.source_seconds > 0
    model = is_intact(project.output).models["mini"]
    assert model.built is not None
    assert model.built.origin.kind == kind
    assert model.built.origin.revision == (COMMIT if kind == "hub" else None)
    below = project.output / "mini/source"
    assert contents(below) == {path: files[path] for path in NEEDED}
    (built,) = report.models
    assert {file.path: file.size for file in built.files} == {f"source/{path}": len(files[path]) for path in NEEDED}
    assert (built.dimension, built.license, built.is_absent, built.stand_ins) == (8, "apache-2.0", False, ())
    assert list((project.store / "scratch").iterdir()) == []


def test_a_report_that_cannot_be_written_fails_only_a_build_that_writes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle in a place that may only be read is the bundle that was asked for."""

    def refuse(*_: object) -> None:
        raise OutputError("bundle.report.json: cannot be written: Read-only file system")

    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [DIRECTORY]}})
    project.lock()
    monkeypatch.setattr("thoth_models_builder.pipeline.build.write_report", refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        project.build()
    monkeypatch.setattr("thoth_models_builder.pipeline.build.write_report", lambda *_: None)
    project.build()
    monkeypatch.setattr("thoth_models_builder.pipeline.build.write_report", refuse)
    assert project.build().is_unchanged
    assert "the measured figures are not kept: bundle.report.json" in project.watcher.notes[-1]


@pytest.mark.hostile
def test_a_file_in_the_place_of_the_report_is_kept(project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [DIRECTORY]}})
    project.lock()
    notes = project.output.with_name(f"{project.output.name}.report.json")
    notes.write_text("my own", encoding="utf-8")
    with pytest.raises(OutputError, match="expected the report of an earlier build or no file, found another file"):
        project.build()
    assert not project.output.exists()
    assert notes.read_text(encoding="utf-8") == "my own"


def test_signature_and_attestations_of_the_bundle_before_are_named(project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [DIRECTORY]}})
    project.lock()
    signature = project.output.with_name(f"{project.output.name}.sig")
    signature.write_bytes(b"a signature")
    project.build()
    assert project.build().is_unchanged
    assert not [note for note in project.watcher.notes if "thoth-bundle sign" in note]
    project.specify({"mini": {"sources": [DIRECTORY], "aliases": ["small"]}})
    project.build()
    assert project.watcher.notes[-1].startswith(f"{signature} is that of the bundle before: `thoth-bundle sign`")
    assert signature.read_bytes() == b"a signature"
    attestations = project.output.with_name(f"{project.output.name}.intoto.jsonl")
    attestations.write_bytes(b"attestations")
    project.specify({"mini": {"sources": [DIRECTORY], "aliases": ["tiny"]}})
    project.build()
    assert project.watcher.notes[-1].startswith(f"{attestations} is that of the bundle before: `thoth-bundle attest`")
    assert attestations.read_bytes() == b"attestations"


def test_the_same_bytes_from_another_source_are_the_same_bundle(
    project: Project, hub: HubSimulator, find_links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT)
    write_wheel(find_links, "some-mini", "0.1.0", "some_mini/model", files)
    project.specify({"mini": {"sources": [HUB, WHEEL]}})
    project.lock()
    digests = []
    for endpoint in (hub.endpoint, "http://127.0.0.1:9"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        shutil.rmtree(project.store)
        make_writable(project.output)
        shutil.rmtree(project.output, ignore_errors=True)
        report = project.build()
        digests.append(report.bundle_digest)
    assert digests[0] == digests[1]
    assert sources_of(report, "mini") == {"wheel:some-mini==0.1.0!some_mini/model"}
    # Once for the source, not for each file.
    assert [(attempt.source, attempt.path) for attempt in report.attempts] == [(f"hub:org/mini@{COMMIT}", None)]


@pytest.mark.hostile
def test_wrong_bytes_are_reported_and_the_next_source_is_used(project: Project, hub: HubSimulator) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT)
    write_files(project.root / "model", files)
    project.specify({"mini": {"sources": [HUB, DIRECTORY]}})
    project.lock()
    shutil.rmtree(project.store)
    hub.fault("model.safetensors", WrongBytes())
    report = project.build()
    (attempt,) = report.attempts
    assert (attempt.model, attempt.source, attempt.path) == ("mini", f"hub:org/mini@{COMMIT}", "model.safetensors")
    assert attempt.reason.startswith("model.safetensors: expected sha256 ")
    assert ", found sha256 " in attempt.reason
    by_path = {file.path: file.source for file in report.models[0].files}
    assert by_path.pop("source/model.safetensors") == "directory:model"
    assert set(by_path.values()) == {f"hub:org/mini@{COMMIT}"}
    assert (project.output / "mini/source/model.safetensors").read_bytes() == files["model.safetensors"]


def test_every_attempt_is_kept_for_the_final_message(project: Project, hub: HubSimulator) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [HUB, DIRECTORY]}})
    project.lock()
    shutil.rmtree(project.store)
    hub.fault("vocab.txt", Status(404))
    with pytest.raises(SourcesFailedError) as caught:
        project.build()
    assert [(attempt.source, attempt.path) for attempt in caught.value.attempts] == [
        (f"hub:org/mini@{COMMIT}", "vocab.txt"),
        ("directory:model", None),
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "mini: no source delivered all of its files, "
        "and the specification does not say `when_unavailable: use-alternates`:"
    )
    assert lines[1].startswith(f"  mini from hub:org/mini@{COMMIT}, vocab.txt: vocab.txt: expected HTTP status 200, ")
    assert lines[2].startswith("  mini from directory:model: expected a directory at ")
    assert not project.output.exists()


# --- again ---


def test_a_second_build_rewrites_nothing(local: Project) -> None:
    first = local.build()
    before = snapshot(local.output)
    again = local.build()
    assert again.is_unchanged
    assert snapshot(local.output) == before
    assert (again.bundle_digest, again.set_digest) == (first.bundle_digest, first.set_digest)
    assert sources_of(again, "mini") == {"the bundle that was there"}
    assert again.own_seconds < 1


def test_a_bundle_is_enough_to_build_it_again(local: Project) -> None:
    first = local.build()
    shutil.rmtree(local.store)
    shutil.rmtree(local.root / "model")
    local.specify({"mini": {"sources": [DIRECTORY], "aliases": ["small"]}})
    again = local.build()
    assert not again.is_unchanged
    assert again.bundle_digest != first.bundle_digest
    assert is_intact(local.output).models["mini"].aliases == ("small",)


@pytest.mark.hostile
@pytest.mark.parametrize("path", ["mini/source/model.safetensors", "mini/source/config.json", "manifest.json"])
def test_a_damaged_bundle_is_built_again(path: str, local: Project) -> None:
    first = local.build()
    flip_bit(local.output, path)
    again = local.build()
    assert (again.is_unchanged, again.bundle_digest) == (False, first.bundle_digest)
    assert again.notes[0].startswith("a bundle that was not intact was replaced: ")
    assert "not intact, building it again" in local.watcher.notes[0]
    is_intact(local.output)


@pytest.mark.hostile
def test_a_damaged_store_is_noticed_and_the_source_asked_again(local: Project) -> None:
    # Links share the damage with the store.
    first = local.build(link=True)
    flip_bit(local.output, "mini/source/model.safetensors", offset=300)
    again = local.build()
    assert again.bundle_digest == first.bundle_digest
    by_path = {file.path: file.source for file in again.models[0].files}
    assert by_path["source/model.safetensors"] == "directory:model"
    assert by_path["source/vocab.txt"] == "store"


# --- what is refused ---


def test_a_lock_that_does_not_fit_is_refused_before_anything_is_done(local: Project) -> None:
    shutil.rmtree(local.store)
    local.specify({"mini": {"sources": [DIRECTORY, HUB]}})
    with pytest.raises(LockOutOfDateError, match="mini: sources: expected"):
        local.build()
    assert not local.store.exists()
    local.lock_file.unlink()
    with pytest.raises(LockError, match="expected a readable lock"):
        local.build()
    local.file.unlink()
    with pytest.raises(SpecError, match="expected the list of models to ship, found no such file"):
        local.build()


def change_lock(project: Project, old: str, new: str) -> None:
    text = project.lock_file.read_text(encoding="utf-8")
    assert old in text
    project.lock_file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.hostile
def test_a_lock_with_a_dimension_that_the_files_contradict_is_refused(local: Project) -> None:
    change_lock(local, '"dimension": 8', '"dimension": 16')
    with pytest.raises(LockError, match="mini: dimension: expected 16, as locked, found 8"):
        local.build()
    assert not local.output.exists()


@pytest.mark.hostile
def test_a_lock_that_leaves_the_weights_out_is_refused(local: Project) -> None:
    document = json.loads(local.lock_file.read_bytes())
    files = document["models"]["mini"]["files"]
    document["models"]["mini"]["files"] = [file for file in files if file["path"] != "model.safetensors"]
    local.lock_file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match=r"^mini: model\.safetensors: expected weights as safetensors"):
        local.build()


def test_an_alternate_that_could_never_stand_in(project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    write_files(project.root / "wide", model_files("wide", dimension=16))
    project.specify(
        {
            "mini": {"sources": [DIRECTORY], "alternates": [{"model": "wide", "other_space": "accept"}]},
            "wide": {"sources": [{"directory": "wide"}]},
        }
    )
    project.lock()
    with pytest.raises(AlternateError, match="expected 8 dimensions, as mini has, found 16"):
        project.build()
    assert not project.output.exists()


def test_an_alternate_with_the_same_weights_needs_no_permission(project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    models = {
        "mini": {"sources": [DIRECTORY], "alternates": [{"model": "copy"}]},
        "copy": {"sources": [DIRECTORY]},
    }
    project.specify(models)
    project.lock()
    first, second = project.build().models
    assert first.space == second.space
    (one, other) = (project.output / name / "source/model.safetensors" for name in ("mini", "copy"))
    assert one.read_bytes() == other.read_bytes()
    project.specify({**models, "copy": {"sources": [DIRECTORY], "normalize": False}})
    assert project.build().models[1].space == first.space  # the model itself makes vectors unit length


def test_a_store_that_cannot_be_made(local: Project) -> None:
    with pytest.raises(StoreError, match="expected a directory to keep files in"):
        local.build(store=local.file)
