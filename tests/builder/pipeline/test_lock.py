from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hub_simulator import HubSimulator, WrongBytes
from tests.support.projects import (
    COMMIT,
    NEEDED,
    Project,
    as_json,
    contents,
    model_files,
    snapshot,
    write_files,
)
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import LockError, SourceError, SourcesFailedError, UnsupportedModelError
from thoth_models_builder.pipeline import lock as locking
from thoth_models_builder.sources.source import RemoteFile
from thoth_models_builder.spec.lockfile import Lock
from thoth_models_builder.spec.variants import choose_files
from thoth_models_builder.storage.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.builder_fixtures import Outcome
    from thoth_models_builder.spec.variants import FileChoice

OTHER_COMMIT = "b" * 40
TOKENIZER = ("tokenizer.json", "vocab.txt")
PINNED = {"hub": "org/mini", "revision": COMMIT}
WHEEL = {"wheel": "some-mini==0.1.0", "path": "some_mini/model"}


def git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


# --- from a hub ---


def test_a_repository_is_locked_without_downloading_its_weights(hub: HubSimulator, project: Project) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    report = project.lock()
    assert report.is_rewritten
    assert report.differences == ()
    (model,) = report.models
    assert (model.name, model.state, model.source) == ("mini", "resolved", f"hub:org/mini@{COMMIT}")
    assert (model.files, model.bytes) == (len(NEEDED), sum(len(files[path]) for path in NEEDED))
    locked = project.locked().models["mini"]
    assert (locked.revision, locked.license, locked.dimension) == (COMMIT, "apache-2.0", 8)
    assert [file.path for file in locked.files] == list(NEEDED)
    for file in locked.files:
        data = files[file.path]
        assert (file.size, file.sha256.hex) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.blob_id == (None if file.path == "model.safetensors" else git_blob_id(data))
    assert hub.bytes_sent("model.safetensors") == 0
    assert hub.bytes_sent("README.md") == 0


def test_the_weights_of_static_embeddings_are_read_for_their_dimension(hub: HubSimulator, project: Project) -> None:
    header = as_json({"embedding.weight": {"dtype": "F32", "shape": [50, 12], "data_offsets": [0, 2400]}})
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    weights = len(header).to_bytes(8, "little") + header + bytes(2400)
    hub.add_model(
        "org/static",
        {"modules.json": as_json([module]), "tokenizer.json": b"{}", "model.safetensors": weights},
        revision=COMMIT,
    )
    project.specify({"static": {"sources": [{"hub": "org/static", "revision": COMMIT}]}})
    project.lock()
    assert project.locked().models["static"].dimension == 12


def test_of_weights_that_are_large_the_beginning_alone_is_read_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A StaticEmbedding may have gigabytes, and a builder has 200 MB."""
    header = as_json({"embedding.weight": {"dtype": "F32", "shape": [50, 12], "data_offsets": [0, 2400]}})
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    weights = len(header).to_bytes(8, "little") + header + bytes(500_000)
    files = {"modules.json": as_json([module]), "tokenizer.json": b"{}", "model.safetensors": weights}
    write_files(project.root / "model", files)
    project.specify({"static": {"sources": [{"directory": "model"}]}})
    sizes: list[int] = []
    whole = Path.read_bytes

    def counted(path: Path) -> bytes:
        sizes.append(path.stat().st_size)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    project.lock()
    project.build()
    assert sizes
    assert max(sizes) < 100_000


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ("vocab.txt", b"[UNK]\n<last>\n"),
        ("vocab.json", as_json({"<last>": 1})),
        ("added_tokens.json", as_json({"<last>": 1})),
        ("tokenizer.json", as_json({"model": {"vocab": {"<last>": 1}}})),
    ],
)
def test_tokens_are_read_wherever_they_are_stored(
    path: str, tokens: bytes, hub: HubSimulator, project: Project
) -> None:
    files = {**model_files("mini"), "merges.txt": b"", "vocab.json": b"{}", "vocab.txt": b"[UNK]\n", path: tokens}
    if path != "tokenizer.json":
        del files["tokenizer.json"]
    config = json.loads(files["config.json"])
    hub.add_model("org/mini", files, revision=COMMIT, lfs=lambda name: name in (path, "model.safetensors"))
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock()
    files["config.json"] = as_json({**config, "vocab_size": 1})
    hub.add_model("org/mini", files, revision=COMMIT, lfs=lambda name: name in (path, "model.safetensors"))
    with pytest.raises(UnsupportedModelError, match=f"{path}: expected tokens with ids below 1, .*, found '<last>'"):
        project.lock()


def below(directory: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a model with the files of its transformer in a directory of their own."""
    top = ("README.md", "config_sentence_transformers.json")
    moved = {path if "/" in path or path in top else f"{directory}/{path}": data for path, data in files.items()}
    (transformer, *others) = json.loads(moved.pop(f"{directory}/modules.json"))
    return {**moved, "modules.json": as_json([{**transformer, "path": directory}, *others])}


@pytest.mark.parametrize("tokenizer", [("vocab.json", "merges.txt"), ("sentencepiece.bpe.model",)])
def test_the_tokenizer_of_the_transformer_is_locked_whatever_lies_at_the_top(
    tokenizer: tuple[str, ...], hub: HubSimulator, project: Project
) -> None:
    files = below("0_Transformer", model_files("mini"))
    stray = files.pop("0_Transformer/tokenizer.json")
    del files["0_Transformer/vocab.txt"]
    own = {f"0_Transformer/{name}": b"{}" for name in tokenizer}
    hub.add_model("org/mini", {**files, **own, "tokenizer.json": stray}, revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock()
    assert set(own) < {file.path for file in project.locked().models["mini"].files}


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (
            "encoder/adapter_config.json",
            {"peft_type": "LORA", "base_model_name_or_path": "org/base"},
            "encoder/adapter_config.json: expected a whole model, found an adapter (LORA) for org/base: ",
        ),
        ("encoder/config.json", {"quantization": {"bits": 4}}, "encoder/config.json: quantization: expected none, "),
    ],
)
def test_what_a_model_is_is_read_in_the_directory_of_its_transformer(
    path: str, content: object, message: str, hub: HubSimulator, project: Project
) -> None:
    """The library takes an adapter from there, with its base model, and not the weights that lie beside it."""
    files = below("encoder", model_files("mini"))
    hub.add_model("org/mini", files, revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock()
    hub.add_model("org/mini", {**files, path: as_json(content)}, revision=COMMIT)
    with pytest.raises(UnsupportedModelError) as caught:
        project.lock()
    assert message in str(caught.value)


def test_a_tokenizer_that_would_be_left_out_is_none(
    hub: HubSimulator, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*arguments: Any) -> FileChoice:
        choice = choose_files(*arguments)
        return replace(choice, included=tuple(path for path in choice.included if path not in TOKENIZER))

    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    monkeypatch.setattr(locking, "choose_files", without)
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.json: expected a tokenizer .*, found none"):
        project.lock()


@pytest.mark.parametrize("revision", ["main", "v1.0", "feature/x"])
def test_a_branch_or_tag_becomes_a_commit(revision: str, hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("old"), revision=OTHER_COMMIT, branches={})
    hub.add_model("org/mini", model_files("new"), revision=COMMIT, branches={revision: COMMIT})
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": revision}]}})
    project.lock()
    locked = project.locked().models["mini"]
    assert locked.revision == COMMIT
    assert locked.origin.detail == revision
    sources = {file.path: file.source for file in project.build().models[0].files}
    assert sources["source/model.safetensors"] == f"hub:org/mini@{COMMIT}"
    # The files are asked for at the commit, and what was said of the branch is not asked again.
    asked = [request.path for request in hub.requests if "/resolve/" in request.path]
    assert asked
    assert all(f"/resolve/{COMMIT}/" in path for path in asked)


def test_a_branch_that_moves_changes_the_lock_and_nothing_else_does(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("old"), revision=OTHER_COMMIT)
    project.specify({"mini": {"sources": [{"hub": "org/mini"}]}})
    project.lock()
    before = project.lock_file.read_bytes()
    untouched = snapshot(project.lock_file)
    again = project.lock()
    assert not again.is_rewritten
    assert snapshot(project.lock_file) == untouched
    assert again.models[0].state == "unchanged"
    hub.add_model("org/mini", model_files("new"), revision=COMMIT)
    after = project.lock()
    assert after.is_rewritten
    assert after.models[0].state == "resolved"
    assert OTHER_COMMIT.encode() in before
    assert project.locked().models["mini"].revision == COMMIT


def test_two_locks_of_the_same_are_equal_to_the_byte(hub: HubSimulator, tmp_path: Path) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    locks = []
    for name, models in (("one", "ab"), ("two", "ba")):
        project = Project(tmp_path / name)
        project.specify({model: {"sources": [PINNED]} for model in models})
        project.lock()
        locks.append(project.lock_file.read_bytes())
    assert locks[0] == locks[1]


def test_nothing_that_says_when_or_where_is_in_the_lock(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock()
    text = project.lock_file.read_text(encoding="utf-8")
    assert str(project.root) not in text
    assert hub.endpoint not in text
    keys = set(json.loads(text)["models"]["mini"])
    assert keys == {"dimension", "files", "license", "revision", "sources", "variants"}


# --- what is left out, and what is refused ---


def test_what_the_variants_do_not_need_is_left_out_with_a_reason(hub: HubSimulator, project: Project) -> None:
    unneeded = {
        "pytorch_model.bin": "pickled weights can run code when they are loaded",
        "training_args.pt": "pickled weights can run code when they are loaded",
        "tf_model.h5": "another framework's weights",
        "onnx/model.onnx": "another framework's weights",
        "onnx/config.json": "another framework's weights",
        "train_script.py": "a bundle carries no code",
        "README.md": "documentation",
        "picture.png": "documentation",
        ".gitattributes": "documentation",
        "data_config.json": "not among the files that torch-fp32 needs",
        "elsewhere/config.json": "not among the files that torch-fp32 needs",
    }
    hub.add_model("org/mini", {**dict.fromkeys(unneeded, b"x"), **model_files("mini")}, revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    (model,) = project.lock().models
    assert {refusal.path: refusal.reason for refusal in model.refused} == unneeded
    assert [file.path for file in project.locked().models["mini"].files] == list(NEEDED)
    assert all(hub.bytes_sent(path) == 0 for path in unneeded)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.safetensors": None, "pytorch_model.bin": b"x"}, "expected weights as safetensors, found none; pick"),
        ({"modules.json": None}, "modules.json: expected this file, or `pooling` in models.yaml, found neither. "),
        (
            {"modules.json": as_json([{"type": "custom_module.Transformer", "path": ""}]), "custom_module.py": b"x"},
            "found 'custom_module.Transformer', which is code of the model's own (trust_remote_code)",
        ),
        ({"modules.json": as_json([{"type": "sentence_transformers.models.CLIPModel"}])}, "a model of images"),
        (
            {"config.json": as_json({"hidden_size": 8, "auto_map": {"AutoModel": "modeling.Model"}})},
            "config.json: expected no `auto_map`, found modeling.Model, code of the model's own",
        ),
        (
            {"tokenizer_config.json": as_json({"auto_map": {"AutoTokenizer": "tokenization.Tokenizer"}})},
            "tokenizer_config.json: expected no `auto_map`, found one",
        ),
        ({"config.json": b"not json"}, "config.json: expected JSON, found something else"),
    ],
)  # fmt: skip
def test_a_model_that_needs_what_a_bundle_refuses(
    changes: dict[str, bytes | None], message: str, hub: HubSimulator, project: Project
) -> None:
    files = {**model_files("mini"), **changes}
    hub.add_model("org/mini", {path: data for path, data in files.items() if data is not None}, revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    project.lock_file.write_bytes(b'{"models": {}, "version": 1}\n')
    with pytest.raises(UnsupportedModelError) as caught:
        project.lock()
    assert str(caught.value).startswith(f"mini (hub:org/mini@{COMMIT}): ")
    assert message in str(caught.value)
    assert project.lock_file.read_bytes() == b'{"models": {}, "version": 1}\n'


@pytest.mark.hostile
@pytest.mark.parametrize("path", ["../config.json", "/etc/config.json", "a\\b.json", "a\nb", "a//b"])
def test_a_hub_that_names_a_path_that_leads_away_is_not_believed(
    path: str, hub: HubSimulator, project: Project
) -> None:
    hub.add_model("org/mini", {**model_files("mini"), path: b"x"}, revision=COMMIT)
    project.specify({"mini": {"sources": [PINNED]}})
    (model,) = project.lock().models
    assert model.state == "missing"
    assert "expected a relative path with / between its parts" in model.attempts[0].reason
    assert not project.lock_file.exists()


# --- hubs that lie ---


@pytest.mark.hostile
def test_a_hub_that_sends_other_bytes_than_the_blob_id_says(hub: HubSimulator, project: Project) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT)
    hub.fault("vocab.txt", WrongBytes())
    project.specify({"mini": {"sources": [PINNED]}})
    (model,) = project.lock().models
    assert model.state == "missing"
    assert model.attempts[0].reason.startswith(
        f"vocab.txt: expected the git blob {git_blob_id(files['vocab.txt'])}, found "
    )


@pytest.mark.hostile
def test_a_hub_that_sends_another_large_configuration_than_its_sha256_says(hub: HubSimulator, project: Project) -> None:
    files = model_files("mini")
    hub.add_model("org/mini", files, revision=COMMIT, lfs=lambda path: path.endswith(".json"))
    hub.fault("config.json", WrongBytes())
    project.specify({"mini": {"sources": [PINNED]}})
    (model,) = project.lock().models
    expected = hashlib.sha256(files["config.json"]).hexdigest()
    assert model.attempts[0].reason.startswith(f"config.json: expected sha256 {expected}, found sha256 ")


@pytest.mark.hostile
def test_a_hub_that_lies_about_the_weights_is_caught_by_the_build(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    hub.fault("model.safetensors", WrongBytes())
    project.specify({"mini": {"sources": [PINNED]}})
    assert project.lock().models[0].state == "resolved"
    with pytest.raises(SourcesFailedError, match=r"model\.safetensors: expected sha256 [0-9a-f]{64}, found sha256"):
        project.build()
    assert not project.output.exists()


@pytest.mark.hostile
def test_a_hub_that_answers_with_another_commit_is_not_believed(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=OTHER_COMMIT, branches={COMMIT: OTHER_COMMIT})
    project.specify({"mini": {"sources": [PINNED]}})
    (model,) = project.lock().models
    assert model.attempts[0].reason == f"expected the commit {COMMIT}, found {OTHER_COMMIT}"
    assert model.state == "missing"


@pytest.mark.hostile
def test_a_file_of_which_a_source_told_no_size_cannot_be_locked() -> None:
    with pytest.raises(SourceError, match=r"^model\.safetensors: expected its size, found none$"):
        locking._locked(RemoteFile(path="model.safetensors"), None, Digest.of(b""))


# --- the lock file ---


@pytest.mark.parametrize("data", [b"{", b'{"version": 1}', b"\xff", b'{"models": {}, "version": 2}'])
def test_a_lock_that_cannot_be_read_is_not_overwritten(data: bytes, project: Project) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    project.lock_file.write_bytes(data)
    with pytest.raises(LockError):
        project.lock()
    assert project.lock_file.read_bytes() == data


def test_a_lock_is_replaced_in_one_step(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.lock_file.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            replace_file(project.lock_file, b"new")
    assert contents(project.root) == {"models.lock": b"old"}
    before = project.lock_file.stat().st_ino
    replace_file(project.lock_file, b"new")
    assert contents(project.root) == {"models.lock": b"new"}
    # Another file took its place; nobody ever saw half of one.
    assert project.lock_file.stat().st_ino != before


@pytest.mark.parametrize("exists", [False, True])
def test_a_lock_behind_a_link_takes_the_place_of_the_file(
    *, exists: bool, no_hub: None, project: Project, tmp_path: Path
) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    kept = tmp_path / "kept.lock"
    if exists:
        kept.write_bytes(Lock(models={}).to_bytes())
        kept.chmod(0o640)
    project.lock_file.symlink_to(kept)
    project.lock()
    assert project.lock_file.is_symlink()
    assert set(Lock.from_bytes(kept.read_bytes(), "kept").models) == {"mini"}
    if exists:
        assert kept.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("is_published", [True, False])
def test_a_maximum_length_that_special_tokens_fill_is_refused(project: Project, *, is_published: bool) -> None:
    """Whether the files of the model state it, or models.yaml."""
    files = {**model_files("mini"), "tokenizer.json": as_json({"post_processor": {"type": "BertProcessing"}})}
    settings = files["sentence_bert_config.json"]
    write_files(project.root / "model", files)
    keys = {} if is_published else {"max_seq_length": 2}
    if is_published:
        (project.root / "model/sentence_bert_config.json").write_bytes(as_json({"max_seq_length": 2}))
    project.specify({"mini": {"sources": [{"directory": "model"}], **keys}})
    with pytest.raises(UnsupportedModelError, match=r"max_seq_length: expected at least 3, .* found 2"):
        project.lock()
    (project.root / "model/sentence_bert_config.json").write_bytes(settings)
    project.specify({"mini": {"sources": [{"directory": "model"}], "max_seq_length": 3}})
    project.lock()
    assert project.locked().models


# --- lock --check ---


def test_checking_asks_no_source_and_tells_by_its_exit_code(
    no_hub: None, project: Project, command: Callable[..., Outcome]
) -> None:
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    missing = command(*project.arguments("lock", "--check"))
    assert missing.code == 2
    assert "expected a readable lock, found: No such file or directory" in missing.err
    project.lock()
    before = project.lock_file.read_bytes()
    agreed = command(*project.arguments("lock", "--check"))
    assert (agreed.code, agreed.out) == (0, "specification and lock agree\n")
    project.specify({"mini": {"sources": [{"directory": "model"}, PINNED]}})
    outdated = command(*project.arguments("lock", "--check"))
    assert outdated.code == 1
    assert outdated.out == (f"mini: sources: expected directory:model, hub:org/mini@{COMMIT}, found directory:model\n")
    as_json = command(*project.arguments("lock", "--check", "--json"))
    assert as_json.code == 1
    assert json.loads(as_json.out) == {"ok": False, "differences": [outdated.out.strip()]}
    assert project.lock_file.read_bytes() == before
