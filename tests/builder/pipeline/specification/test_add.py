"""`init` and `add`: what is written, that it is what `lock` would write, and that a failure leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hub_simulator import Status
from tests.support.projects import COMMIT, FAST, NEEDED, Project, model_files, snapshot, write_files, write_wheel
from thoth_models_builder.errors import (
    BuildError,
    LockError,
    OutputError,
    SourceError,
    SourceUnreachableError,
    SpecError,
    UnsupportedModelError,
    UsageError,
)
from thoth_models_builder.pipeline.inputs import read_spec
from thoth_models_builder.pipeline.lock import resolve
from thoth_models_builder.pipeline.specification import add
from thoth_models_builder.pipeline.specification.add import NewModelOptions
from thoth_models_builder.pipeline.specification.both_files import Places
from thoth_models_builder.spec.models_yaml import DirectorySource, HubSource

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator
    from thoth_models_builder.reports.results import EditReport

BGE = "BAAI/bge-small-en-v1.5"


def places(project: Project) -> Places:
    return Places(file=project.file, lock=project.lock_file, store=project.store)


def add_one(project: Project, source: str, **options: Any) -> EditReport:
    models = [NewModelOptions(source=source, **options)]
    return add.add(places(project), models, limits=FAST, watcher=project.watcher)


def init(project: Project, *sources: str) -> EditReport:
    return add.init(places(project), sources, limits=FAST, watcher=project.watcher)


@pytest.fixture
def bge(hub: HubSimulator) -> HubSimulator:
    hub.add_model(BGE, model_files("bge"), revision=COMMIT, branches={"main": COMMIT, "v2": COMMIT})
    return hub


# --- what is written ---


def test_the_first_model_makes_a_commented_file(bge: HubSimulator, project: Project) -> None:
    report = add_one(project, BGE)
    assert report.is_new
    assert report.differences == ()
    assert [(model.name, model.state, model.files) for model in report.models] == [
        ("bge-small-en-v1-5", "resolved", len(NEEDED))
    ]
    spec = read_spec(project.file)
    (model,) = spec.models.values()
    assert model.sources == [HubSource(hub=BGE, revision=COMMIT)]
    assert (model.variants, model.aliases) == (["onnx-fp32"], ["bge-small-en-v1.5"])
    assert spec.bundle.default == "bge-small-en-v1-5"
    assert project.file.read_text(encoding="utf-8").count("# ") > 5
    assert bge.bytes_sent("model.safetensors") == 0


def test_the_lock_is_that_of_the_lock_command(bge: HubSimulator, project: Project) -> None:
    add_one(project, BGE, variants=["torch-fp32", "onnx-int8"])
    written = project.lock_file.read_bytes()
    report = project.lock()
    assert not report.is_rewritten
    assert project.lock_file.read_bytes() == written
    assert report.models[0].state == "unchanged"


def test_a_model_is_added_to_others_which_are_not_asked(bge: HubSimulator, local: Project) -> None:
    before = local.file.read_bytes()
    entry = local.locked().models["mini"]
    (local.root / "model" / "vocab.txt").write_bytes(b"changed meanwhile")
    report = add_one(local, f"{BGE}@v2", name="bge")
    assert (report.is_new, report.differences) == (False, ())
    assert report.sources == {"bge": f"hub:{BGE}@{COMMIT}"}
    assert len(local.file.read_bytes()) > len(before)
    assert local.locked().models["mini"] == entry
    assert read_spec(local.file).models["bge"].aliases == []


def test_other_models_that_are_not_locked_are_named(bge: HubSimulator, project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    report = add_one(project, BGE)
    assert report.differences == ("mini: expected an entry, found none",)
    assert set(project.locked().models) == {"bge-small-en-v1-5"}


def test_a_directory_is_relative_to_the_specification(
    local: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "elsewhere" / "Ours", model_files("ours"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    add_one(local, "./Ours")
    assert read_spec(local.file).models["ours"].sources == [DirectorySource(directory="../elsewhere/Ours")]
    add_one(local, str(tmp_path / "elsewhere" / "Ours"), name="absolute")
    absolute = [DirectorySource(directory=str(tmp_path / "elsewhere" / "Ours"))]
    assert read_spec(local.file).models["absolute"].sources == absolute
    assert local.lock().differences == ()


def test_a_directory_is_the_one_that_was_meant_behind_links(
    local: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    write_files(here / "ours", model_files("ours"))
    (here / "link").symlink_to(local.root)
    (tmp_path / "far" / "below").mkdir(parents=True)
    (here / "below").symlink_to(tmp_path / "far" / "below")
    write_files(tmp_path / "far" / "theirs", model_files("theirs"))
    monkeypatch.chdir(here)
    linked = Project(here / "link", local.watcher)
    add_one(linked, "./ours")
    add_one(linked, "./below/../theirs")
    models = read_spec(local.file).models
    assert [models[name].sources for name in ("ours", "theirs")] == [
        [DirectorySource(directory="../here/ours")],
        [DirectorySource(directory="../far/theirs")],
    ]
    assert local.lock().differences == ()


def test_a_lock_behind_a_link_is_made_where_the_link_leads(local: Project, tmp_path: Path) -> None:
    local.lock_file.unlink()
    local.lock_file.symlink_to(tmp_path / "kept.lock")
    add_one(local, str(local.root / "model"), name="second")
    assert local.lock_file.is_symlink()
    assert set(local.locked().models) == {"second"}


def test_a_wheel(project: Project, find_links: Path) -> None:
    write_wheel(find_links, "some-mini", "0.1.0", "some_mini/model", model_files("mini"))
    report = add_one(project, "some-mini==0.1.0!some_mini/model")
    assert report.sources == {"some-mini": "wheel:some-mini==0.1.0!some_mini/model"}
    project.lock()
    assert set(project.locked().models) == {"some-mini"}


def test_several_models_at_once(bge: HubSimulator, project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    report = init(project, BGE, str(project.root / "model"))
    assert [model.name for model in report.models] == ["bge-small-en-v1-5", "model"]
    assert list(read_spec(project.file).models) == ["bge-small-en-v1-5", "model"]
    assert report.differences == ()


def test_a_first_file_without_asking_anyone(no_hub: None, project: Project) -> None:
    report = init(project)
    assert (report.is_new, report.models) == (True, ())
    assert list(read_spec(project.file).models) == ["mini"]
    assert not project.lock_file.exists()


# --- what is refused: both files stay as they are ---


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize(
    ("source", "options", "kind", "message"),
    [
        ("org/nothing", {}, SourceError, r"nothing from hub:org/nothing@main: .* 404.*; nothing was written"),
        ("./nothing", {}, SourceUnreachableError, "expected a directory at "),
        ("x==1!y", {}, SourceUnreachableError, "expected pip to download"),
        ("org/pickled", {}, UnsupportedModelError, r"pickled \(hub:org/pickled@main\): model.safetensors: expected"),
        ("org/code", {}, UnsupportedModelError, "trust_remote_code"),
        (BGE, {"variants": ["onnx"]}, UsageError, "--variant: "),
        (BGE, {"aliases": [" "]}, UsageError, "--alias: "),
        (BGE, {"name": "No"}, SpecError, "expected the name to be 1 to 63 lower-case letters"),
        ("no/such/form", {}, UsageError, "expected a repository of the Hub"),
    ],
)
def test_nothing_is_written(
    *,
    is_new: bool,
    source: str,
    options: dict[str, Any],
    kind: type[BuildError],
    message: str,
    bge: HubSimulator,
    local: Project,
    find_links: Path,
) -> None:
    files = model_files("x")
    weights = files.pop("model.safetensors")
    bge.add_model("org/pickled", {**files, "pytorch_model.bin": weights})
    code = files["modules.json"].replace(b"sentence_transformers.models.Transformer", b"custom.Transformer")
    bge.add_model("org/code", {**model_files("x"), "modules.json": code})
    if is_new:
        local.file.unlink()
    before = {path: entry for path, entry in snapshot(local.root).items() if path.startswith("models.")}
    with pytest.raises(kind, match=message):
        add_one(local, source, **options)
    assert {path: entry for path, entry in snapshot(local.root).items() if path.startswith("models.")} == before


@pytest.mark.parametrize("name", ["mini", "small"])
def test_a_name_that_is_taken(name: str, no_hub: None, local: Project) -> None:
    local.specify({"mini": {"sources": [{"directory": "model"}], "aliases": ["small"]}})
    with pytest.raises(
        UsageError, match=rf"--name: expected a name that .* does not have \(mini, small\), found '{name}'"
    ):
        add_one(local, BGE, name=name)


def test_an_alias_that_is_taken_is_left_out(bge: HubSimulator, local: Project) -> None:
    local.specify({"mini": {"sources": [{"directory": "model"}], "aliases": ["bge-small-en-v1.5"]}})
    add_one(local, BGE)
    assert read_spec(local.file).models["bge-small-en-v1-5"].aliases == []


def test_a_hub_that_fails_leaves_nothing(bge: HubSimulator, project: Project) -> None:
    bge.fault("config.json", Status(500))
    with pytest.raises(SourceError):
        add_one(project, BGE)
    assert not project.file.exists()
    assert not project.lock_file.exists()


def test_the_second_of_two_that_fails_leaves_neither(bge: HubSimulator, project: Project) -> None:
    with pytest.raises(SourceError):
        init(project, BGE, "org/nothing")
    assert not project.file.exists()
    assert not project.lock_file.exists()


def test_a_file_that_exists_is_never_overwritten(local: Project) -> None:
    before = local.file.read_bytes()
    with pytest.raises(UsageError, match="expected no file yet, found one"):
        init(local)
    local.file.unlink()
    local.file.symlink_to("nowhere")
    with pytest.raises(UsageError, match="expected no file yet, found one"):
        init(local)
    assert before
    assert not (local.root / "nowhere").exists()


def test_inputs_with_errors(bge: HubSimulator, local: Project) -> None:
    local.lock_file.write_bytes(b"{}")
    with pytest.raises(LockError):
        add_one(local, BGE)
    local.lock_file.unlink()
    local.file.write_bytes(b"version: 2\n")
    with pytest.raises(SpecError):
        add_one(local, BGE)
    assert local.file.read_bytes() == b"version: 2\n"


def test_a_file_that_was_edited_meanwhile(bge: HubSimulator, local: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve_while_another_edits(*arguments: Any) -> Any:
        local.file.write_bytes(b"# mine\n" + local.file.read_bytes())
        return resolve(*arguments)

    monkeypatch.setattr("thoth_models_builder.pipeline.specification.add.resolve", resolve_while_another_edits)
    lock = local.lock_file.read_bytes()
    with pytest.raises(OutputError, match="was changed meanwhile"):
        add_one(local, BGE)
    assert local.file.read_bytes().startswith(b"# mine\n{")
    assert local.lock_file.read_bytes() == lock


def test_a_plain_repository_is_added_with_its_pooling(hub: HubSimulator, project: Project) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    hub.add_model("org/plain", {name: model_files("plain")[name] for name in names}, revision=COMMIT)
    with pytest.raises(UnsupportedModelError, match="`thoth-bundle add --pooling` does"):
        add_one(project, "org/plain")
    assert not project.file.exists()
    report = add_one(project, "org/plain", pooling=["cls"])
    assert list(report.models[0].configured) == ["1_Pooling/config.json", "modules.json"]
    assert "    pooling: cls\n" in project.file.read_text(encoding="utf-8")
    assert project.locked().models["plain"].dimension == 8
