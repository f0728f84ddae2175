"""`outdated`: what is newer upstream, and whether vectors would change with it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.hub_simulator import Status
from tests.support.projects import COMMIT, FAST, Project, as_json, model_files, snapshot, write_files
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.errors import LockError, LockOutOfDateError, UnsupportedModelError
from thoth_models_builder.pipeline.specification.both_files import Places
from thoth_models_builder.pipeline.specification.outdated import outdated
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from tests.support.hub_simulator import HubSimulator
    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.bundle.model_files import ModelFiles
    from thoth_models_builder.reports.results import OutdatedModelReport

NEWER = "b" * 40
OLD = model_files("mini")


@pytest.fixture
def pinned(hub: HubSimulator, project: Project) -> Project:
    hub.add_model("org/mini", OLD, revision=COMMIT)
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": COMMIT}]}})
    project.lock()
    return project


def ask(project: Project) -> OutdatedModelReport:
    places = Places(file=project.file, lock=project.lock_file, store=project.store)
    (report,) = outdated(places, limits=FAST, watcher=project.watcher)
    return report


def test_nothing_newer(pinned: Project) -> None:
    report = ask(pinned)
    assert (report.state, report.upstream, report.branch, report.is_outdated) == ("current", COMMIT, "main", False)


@pytest.mark.parametrize(
    ("change", "state", "changed"),
    [
        ({"README.md": b"another text"}, "same vectors", ()),
        ({"tokenizer_config.json": b'{"tokenizer_class":"BertTokenizer","model_max_length":64,"name_or_path":"x"}'},
         "same vectors", ("tokenizer_config.json",)),
        ({"model.safetensors": b"\0" * 64}, "new space", ("model.safetensors",)),
        ({"sentence_bert_config.json": as_json({"max_seq_length": 32})}, "new space", ("sentence_bert_config.json",)),
        ({"added_tokens.json": b"{}"}, "new space", ("added_tokens.json",)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_store_empty", [False, True])
def test_a_newer_commit(
    *,
    change: dict[str, bytes],
    state: str,
    changed: tuple[str, ...],
    is_store_empty: bool,
    pinned: Project,
    hub: HubSimulator,
) -> None:
    hub.add_model("org/mini", {**OLD, **change}, revision=NEWER)
    if is_store_empty:
        shutil.rmtree(pinned.store)
    before = {path: entry for path, entry in snapshot(pinned.root).items() if path.startswith("models.")}
    report = ask(pinned)
    assert (report.state, report.changed, report.is_outdated) == (state, changed, True)
    assert (report.source, report.upstream) == (f"hub:org/mini@{COMMIT}", NEWER)
    assert hub.bytes_sent("model.safetensors") == 0
    assert {path: entry for path, entry in snapshot(pinned.root).items() if path.startswith("models.")} == before


def test_a_file_that_is_gone_is_a_change(pinned: Project, hub: HubSimulator) -> None:
    hub.add_model("org/mini", {path: data for path, data in OLD.items() if path != "vocab.txt"}, revision=NEWER)
    report = ask(pinned)
    assert (report.state, report.changed) == ("new space", ("vocab.txt",))


def test_a_branch_is_compared_with_its_own_commit(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", OLD, revision=COMMIT, branches={"v1": COMMIT})
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": "v1"}]}})
    project.lock()
    hub.add_model("org/mini", model_files("x"), revision="c" * 40, branches={"main": "c" * 40})
    assert ask(project).state == "current"
    hub.add_model("org/mini", model_files("x"), revision=NEWER, branches={"v1": NEWER})
    report = ask(project)
    assert (report.state, report.branch, report.upstream) == ("new space", "v1", NEWER)


def test_a_commit_that_a_bundle_cannot_contain(pinned: Project, hub: HubSimulator) -> None:
    files = {path: data for path, data in OLD.items() if path != "model.safetensors"}
    hub.add_model("org/mini", {**files, "pytorch_model.bin": b"x"}, revision=NEWER)
    report = ask(pinned)
    assert (report.state, report.upstream, report.is_outdated) == ("refused", NEWER, True)
    assert "expected weights as safetensors" in (report.reason or "")


def test_a_locked_commit_that_a_bundle_cannot_contain(
    pinned: Project, hub: HubSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another release may have locked it: that is not said of the commit upstream."""
    hub.add_model("org/mini", {**OLD, "vocab.txt": b"other"}, revision=NEWER)

    def stricter(files: ModelFiles) -> ModelFacts:
        if files.digests["vocab.txt"] == Digest.of(OLD["vocab.txt"]):
            raise UnsupportedModelError("vocab.txt: expected other words")
        return describe(files)

    monkeypatch.setattr("thoth_models_builder.pipeline.specification.outdated.describe", stricter)
    message = rf"^mini \(hub:org/mini@{COMMIT}\), as it is locked: vocab\.txt: expected other words$"
    with pytest.raises(UnsupportedModelError, match=message):
        ask(pinned)


def test_weights_that_only_a_download_describes_are_kept_for_the_build(hub: HubSimulator, project: Project) -> None:
    """Those of a StaticEmbedding: they alone say how long its vectors are."""
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    files = {"modules.json": as_json([module]), "tokenizer.json": b"{}"}
    for dimension, commit in ((12, COMMIT), (24, NEWER)):
        end = 4 * 50 * dimension
        header = as_json({"embedding.weight": {"dtype": "F32", "shape": [50, dimension], "data_offsets": [0, end]}})
        weights = len(header).to_bytes(8, "little") + header + bytes(end)
        hub.add_model("org/static", {**files, "model.safetensors": weights}, revision=commit)
        if commit == COMMIT:
            project.specify({"static": {"sources": [{"hub": "org/static", "revision": "main"}]}})
            project.lock()
            sent = hub.bytes_sent("model.safetensors")
    report = ask(project)
    assert (report.state, report.changed) == ("new space", ("model.safetensors",))
    # The beginning, which is the whole of so small a file, to see whether a bundle can contain it; then the file, once.
    assert hub.bytes_sent("model.safetensors") == sent + 2 * len(weights)
    assert Store(project.store).find(Digest.of(weights), len(weights)) is not None


def test_a_hub_that_does_not_answer(pinned: Project, hub: HubSimulator) -> None:
    hub.fault("api", Status(503))
    report = ask(pinned)
    assert (report.state, report.is_outdated) == ("unknown", False)
    assert "503" in (report.reason or "")


def test_other_sources_are_not_asked(local: Project) -> None:
    report = ask(local)
    assert (report.state, report.source, report.is_outdated) == ("not asked", "directory:model", False)


def test_a_lock_is_needed(local: Project) -> None:
    write_files(local.root / "other", model_files("other"))
    local.specify({"mini": {"sources": [{"directory": "other"}]}})
    with pytest.raises(LockOutOfDateError):
        ask(local)
    local.lock_file.unlink()
    with pytest.raises(LockError):
        ask(local)


def test_commits_are_compared_as_the_keys_configure_them(hub: HubSimulator, project: Project) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    plain = {name: OLD[name] for name in names}
    hub.add_model("org/mini", plain, revision=COMMIT)
    keys = {"pooling": "cls", "max_seq_length": 12}
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": COMMIT}], **keys}})
    project.lock()
    # What the key replaces makes no difference.
    hub.add_model("org/mini", {**plain, "sentence_bert_config.json": as_json({"max_seq_length": 9})}, revision=NEWER)
    report = ask(project)
    assert (report.state, report.changed) == ("same vectors", ("sentence_bert_config.json",))
    # The origin says now what pooling it was trained with, and it is another.
    modules = {name: OLD[name] for name in ("modules.json", "1_Pooling/config.json")}
    hub.add_model("org/mini", {**plain, **modules}, revision="c" * 40)
    report = ask(project)
    assert report.state == "refused"
    assert "pooling: expected mean, as the model's own files say" in (report.reason or "")
