"""Models whose keys in models.yaml change what their files say: locked, built, kept and compared."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import (
    Project,
    as_json,
    contents,
    is_intact,
    model_files,
    snapshot,
    sources_of,
    write_files,
)
from thoth_models.bundle.digest import Digest
from thoth_models_builder.cli.main import main
from thoth_models_builder.errors import LockError, LockOutOfDateError, UnsupportedModelError
from thoth_models_builder.pipeline.specification.check_lock import check_lock
from thoth_models_builder.reports.bundle_diff import diff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.hub_simulator import HubSimulator
    from thoth_models.bundle.manifest import BuiltModel, Manifest

ST_CONFIG = "config_sentence_transformers.json"
SETTINGS = "sentence_bert_config.json"
POOLING = "1_Pooling/config.json"
PLAIN = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
KEYS: dict[str, Any] = {
    "pooling": "cls",
    "prompts": {"query": "query: "},
    "default_prompt_name": "query",
    "max_seq_length": 32,
}


@pytest.fixture
def plain(project: Project) -> Iterator[Project]:
    """A project with the files of a plain repository of the transformers library."""
    write_files(project.root / "model", {path: model_files("plain")[path] for path in PLAIN})
    yield project
    make_writable(project.root)


def specify(project: Project, **keys: Any) -> None:
    project.specify({"mini": {"sources": [{"directory": "model"}], **keys}})


def built(project: Project, **keys: Any) -> Manifest:
    specify(project, **keys)
    project.lock()
    project.build()
    return is_intact(project.output)


def model_of(manifest: Manifest) -> BuiltModel:
    found = manifest.models["mini"].built
    assert found is not None
    return found


# --- lock ---


def test_the_lock_has_the_files_of_the_origin(plain: Project) -> None:
    specify(plain, **KEYS, truncate_dim=5)
    (report,) = plain.lock().models
    locked = plain.locked().models["mini"]
    assert [file.path for file in locked.files] == list(PLAIN)
    assert locked.dimension == 5
    assert list(report.configured) == [POOLING, ST_CONFIG, "modules.json", SETTINGS]
    assert report.configured[SETTINGS] == ("max_seq_length: 32 (models.yaml)",)
    assert report.notes == ()


def test_a_plain_repository_needs_the_key_before_its_weights_are_downloaded(
    hub: HubSimulator, project: Project
) -> None:
    hub.add_model("org/plain", {path: model_files("plain")[path] for path in PLAIN})
    project.specify({"mini": {"sources": [{"hub": "org/plain"}]}})
    with pytest.raises(
        UnsupportedModelError, match=r"mini \(hub:org/plain@main\): modules\.json: expected this file, or"
    ):
        project.lock()
    assert hub.bytes_sent("model.safetensors") == 0
    assert not project.lock_file.exists()


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"pooling": "mean", "default_prompt_name": "querry"},
        {"pooling": "mean", "truncate_dim": 9},
        {"pooling": "mean", "max_seq_length": 65},
    ],
)
def test_the_hint_for_a_key_that_does_not_fit_is_about_the_key(
    keys: dict[str, Any], plain: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (plain.root / "model" / ST_CONFIG).write_bytes(as_json({"prompts": {"query": "q: "}}))
    specify(plain, pooling="mean")
    plain.lock()
    specify(plain, **keys)
    for command in ("lock", "build") if "truncate_dim" not in keys else ("lock",):
        assert main(plain.arguments(command)) == 2
        assert "hint: change the key in models.yaml" in capsys.readouterr().err


def test_what_a_key_gets_wrong_is_refused_before_the_weights_of_a_directory_are_copied(plain: Project) -> None:
    specify(plain, pooling="mean", max_seq_length=65)
    with pytest.raises(UnsupportedModelError, match="max_seq_length: expected at most 64"):
        plain.lock()
    copied = {Digest.of(data) for data in contents(plain.store).values()}
    assert Digest.of(model_files("plain")["config.json"]) in copied
    assert Digest.of(model_files("plain")["model.safetensors"]) not in copied


def test_what_the_command_prints(plain: Project, capsys: pytest.CaptureFixture[str]) -> None:
    files = plain.root / "model"
    (files / ST_CONFIG).write_bytes(as_json({"similarity_fn_name": "dot"}))
    (files / SETTINGS).write_bytes(as_json({"max_seq_length": 16}))
    specify(plain, pooling="mean", max_seq_length=20)
    assert main(plain.arguments("lock")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  configured: sentence_bert_config.json (max_seq_length: 20 (models.yaml))" in lines
    notes = [line for line in lines if line.startswith("  note: ")]
    assert [note.split(":")[1].split(",")[0] for note in notes] == [" max_seq_length", " published for the dot product"]


def test_keys_that_change_no_entry_need_no_new_lock(plain: Project) -> None:
    specify(plain, pooling="mean")
    plain.lock()
    before = snapshot(plain.lock_file)
    specify(plain, pooling="cls", prompts={"query": "q: "}, max_seq_length=9, normalize="auto")
    assert check_lock(plain.file, plain.lock_file) == []
    assert not plain.lock().is_rewritten
    assert snapshot(plain.lock_file) == before


def test_a_key_that_changes_the_dimension_needs_one(plain: Project) -> None:
    specify(plain, pooling="mean")
    plain.lock()
    specify(plain, pooling="mean", truncate_dim=5)
    assert check_lock(plain.file, plain.lock_file) == ["mini: dimension: expected 5 (`truncate_dim`), found 8"]
    with pytest.raises(LockOutOfDateError):
        plain.build()
    plain.lock()
    assert plain.locked().models["mini"].truncate_dim == 5
    specify(plain, pooling="mean")
    line = "mini: truncate_dim: expected none, found 5, which decided the dimension"
    assert check_lock(plain.file, plain.lock_file) == [line]
    with pytest.raises(LockOutOfDateError):
        plain.build()
    plain.lock()
    assert b"truncate_dim" not in plain.lock_file.read_bytes()
    # Only the files say what these modes make of the dimension, and the check reads none.
    specify(plain, pooling=["mean", "cls"])
    assert check_lock(plain.file, plain.lock_file) == []
    with pytest.raises(LockError, match="mini: dimension: expected 8, as locked, found 16"):
        plain.build()


def test_a_key_that_the_files_need_cannot_be_removed(plain: Project) -> None:
    specify(plain, pooling="mean")
    plain.lock()
    specify(plain)
    with pytest.raises(UnsupportedModelError, match=r"^mini: modules\.json: expected this file, or `pooling`"):
        plain.build()


# --- build ---


def test_a_bundle_lists_what_differs_from_the_origin(plain: Project) -> None:
    origin = as_json({"max_seq_length": 16, "do_lower_case": True})
    (plain.root / "model" / SETTINGS).write_bytes(origin)
    manifest = built(plain, **KEYS)
    found = model_of(manifest)
    assert [(file.path, file.origin) for file in found.configured] == [
        (POOLING, None),
        (ST_CONFIG, None),
        ("modules.json", None),
        (SETTINGS, Digest.of(origin)),
    ]
    assert all("models.yaml" in file.reasons[0] for file in found.configured)
    assert (found.pooling, found.max_seq_length, found.default_prompt_name) == ("cls", 32, "query")
    assert found.prompts == {"query": "query: ", "document": ""}
    shipped = contents(plain.output / "mini/source")
    assert shipped.keys() == {*PLAIN, POOLING, ST_CONFIG, "modules.json", SETTINGS}
    assert json.loads(shipped[SETTINGS]) == {"max_seq_length": 32, "do_lower_case": True}
    # A bundle is the same for everyone who has the same two files.
    first = contents(plain.output)
    make_writable(plain.output)
    shutil.rmtree(plain.output)
    plain.build()
    assert contents(plain.output) == first


def test_what_the_build_prints(plain: Project, capsys: pytest.CaptureFixture[str]) -> None:
    specify(plain, pooling="mean", max_seq_length=20)
    plain.lock()
    assert main(plain.arguments("build")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  configured: sentence_bert_config.json (max_seq_length: 20 (models.yaml))" in lines
    sources = {line.split()[0]: line.split()[-1] for line in lines if line.strip().startswith("source/")}
    assert sources["source/modules.json"] == "configured"
    assert sources["source/config.json"] != "configured"


def test_a_build_with_nothing_to_do_writes_nothing(plain: Project) -> None:
    built(plain, **KEYS)
    before = snapshot(plain.output), snapshot(plain.store / "objects")
    report = plain.build()
    assert report.is_unchanged
    assert sources_of(report, "mini") == {"the bundle that was there"}
    assert snapshot(plain.output) == before[0]
    assert snapshot(plain.store / "objects").keys() == before[1].keys()


def test_only_the_originals_of_configured_files_are_fetched_again(plain: Project) -> None:
    (plain.root / "model" / SETTINGS).write_bytes(as_json({"max_seq_length": 16}))
    built(plain, **KEYS)
    make_writable(plain.store)
    shutil.rmtree(plain.store)
    (plain.root / "model/model.safetensors").unlink()
    assert plain.build().is_unchanged


def test_a_change_of_a_key_takes_the_rest_from_the_bundle(plain: Project) -> None:
    built(plain, **KEYS)
    before = contents(plain.output / "mini/source")
    specify(plain, **{**KEYS, "max_seq_length": 20})
    report = plain.build()
    (model,) = report.models
    assert {file.path for file in model.files if file.source == "configured"} == {f"source/{SETTINGS}"}
    after = contents(plain.output / "mini/source")
    assert {path for path in after if after[path] != before[path]} == {SETTINGS}


def test_a_model_without_keys_has_no_list(plain: Project) -> None:
    shutil.rmtree(plain.root / "model")
    write_files(plain.root / "model", model_files("whole"))
    manifest = built(plain)
    assert model_of(manifest).configured == ()
    assert b'"configured"' not in manifest.to_bytes()


# --- what changes a space ---


@pytest.mark.parametrize(
    ("before", "after", "what", "values"),
    [
        ({}, {"pooling": "cls"}, "pooling", ("mean", "cls")),
        ({}, {"prompts": {"query": "query: "}}, "prompts", ("document='', query=''", "document='', query='query: '")),
        ({}, {"default_prompt_name": "query"}, "default prompt", ("none", "query")),
        ({}, {"max_seq_length": 32}, "maximum length", ("64", "32")),
        ({}, {"truncate_dim": 5}, "dimension", ("8", "5")),
        ({}, {"normalize": False}, "unit length", ("True", "False")),
        ({"normalize": False}, {"normalize": "auto"}, "unit length", ("False", "True")),
    ],
)
def test_a_new_space_is_named_with_what_changed(
    plain: Project, before: dict[str, Any], after: dict[str, Any], what: str, values: tuple[str, str]
) -> None:
    first = built(plain, **{"pooling": "mean", **before})
    compared = diff(first, built(plain, **{"pooling": "mean", **after}))
    (model,) = compared.models
    assert model.verdict == "new space"
    assert compared.needs_reindex
    changes = {change.what: (change.before, change.after) for change in model.changes}
    assert changes.pop(what) == values
    # Nothing else of the model changed.
    assert changes.keys() <= {"space", "configured"}


def test_a_key_that_repeats_what_the_files_say_keeps_the_space(plain: Project) -> None:
    first = built(plain, pooling="mean")
    (model,) = diff(first, built(plain, pooling="mean", max_seq_length=64, prompts={})).models
    assert model.verdict == "same vectors"
