"""`check-model`: the same answer as `add` would give, from small files and the beginning of weights alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hub_simulator import HubSimulator, Status
from tests.support.projects import COMMIT, FAST, NEEDED, Project, as_json, model_files, write_files, write_wheel
from tests.support.published_configs import GTE_EN
from thoth_models_builder.errors import SourceUnreachableError, UnsupportedModelError, UsageError
from thoth_models_builder.pipeline.inputs import read_spec
from thoth_models_builder.pipeline.specification import add
from thoth_models_builder.pipeline.specification import check_model as checking
from thoth_models_builder.pipeline.specification.add import NewModelOptions
from thoth_models_builder.pipeline.specification.both_files import Places
from thoth_models_builder.pipeline.specification.check_model import CheckOptions, check_model
from thoth_models_builder.spec.models_yaml import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.reports.results import ModelCheckReport

BGE = "BAAI/bge-small-en-v1.5"


def check(project: Project, source: str, **options: Any) -> ModelCheckReport:
    checked = CheckOptions(source=source, **options)
    return check_model(checked, project.store, limits=FAST, watcher=project.watcher)


def static_model(rows: int = 2, size: int = 300_000) -> dict[str, bytes]:
    """Return a model of model2vec whose weights are longer than what is read of them."""
    header = as_json({"embeddings": {"dtype": "U8", "shape": [rows, size], "data_offsets": [0, rows * size]}})
    modules = [
        {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    return {
        "modules.json": as_json(modules),
        "config.json": as_json({"model_type": "model2vec", "architectures": ["StaticModel"]}),
        "model.safetensors": len(header).to_bytes(8, "little") + header + bytes(rows * size),
        "tokenizer.json": as_json({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}}}),
    }


def test_everything_is_said_and_no_weights_are_sent(hub: HubSimulator, project: Project) -> None:
    files = {**model_files("bge", prompts={"query": "query: "}), "pytorch_model.bin": b"x"}
    hub.add_model(BGE, files, revision=COMMIT)
    report = check(project, f"hub:{BGE}")
    assert (report.name, report.source, report.revision) == ("bge-small-en-v1-5", f"hub:{BGE}@main", COMMIT)
    assert (report.license, report.architecture) == ("apache-2.0", "bert")
    assert report.modules == ("Transformer", "Pooling", "Normalize")
    assert (report.dimension, report.max_seq_length, report.pooling, report.similarity) == (8, 16, "mean", "cosine")
    assert (report.is_normalized, report.prompts) == (True, {"query": "query: ", "document": ""})
    assert report.files == NEEDED
    assert report.weight_bytes == len(files["model.safetensors"])
    assert report.bytes == sum(len(files[path]) for path in NEEDED)
    assert [refusal.path for refusal in report.refused] == ["README.md", "pytorch_model.bin"]
    assert (report.configured, report.notes) == ({}, ())
    assert hub.bytes_sent("model.safetensors") == hub.bytes_sent("pytorch_model.bin") == 0


def test_the_entry_is_the_one_that_add_writes(hub: HubSimulator, project: Project) -> None:
    hub.add_model(BGE, model_files("bge"), revision=COMMIT)
    report = check(project, BGE)
    places = Places(file=project.file, lock=project.lock_file, store=project.store)
    add.add(places, [NewModelOptions(source=BGE)], limits=FAST, watcher=project.watcher)
    pasted = f"version: 1\nbundle: {{name: x, default: {report.name}}}\nmodels:\n{report.entry}"
    assert parse_spec(pasted.encode(), "models.yaml").models == read_spec(project.file).models
    assert f"revision: {COMMIT}" in report.entry


def test_nothing_is_written_beside_the_store(
    hub: HubSimulator, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    hub.add_model(BGE, model_files("bge"), revision=COMMIT)
    check(project, BGE)
    assert [path.name for path in project.root.iterdir() if path != project.store] == []


def test_of_a_static_embedding_the_beginning_alone_is_sent(hub: HubSimulator, project: Project) -> None:
    files = static_model()
    hub.add_model("minishlab/potion", files, revision=COMMIT)
    report = check(project, "minishlab/potion")
    assert (report.dimension, report.max_seq_length, report.architecture) == (300_000, None, "model2vec")
    assert report.configured == {"modules.json": ("path '.' is the directory of the model itself",)}
    assert hub.bytes_sent("model.safetensors") == 16 * 1024
    ranges = [request.range for request in hub.requests if request.path.endswith("model.safetensors")]
    assert set(filter(None, ranges)) == {"bytes=0-16383"}


def test_a_static_embedding_without_its_tokenizer_is_refused(hub: HubSimulator, project: Project) -> None:
    files = static_model()
    del files["tokenizer.json"]
    hub.add_model("minishlab/potion", {**files, "vocab.txt": b"[UNK]\n"}, revision=COMMIT)
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.json: expected this file, in which alone a Static"):
        check(project, "minishlab/potion")


def test_a_token_without_a_row_is_seen(hub: HubSimulator, project: Project) -> None:
    hub.add_model("minishlab/potion", static_model(rows=1), revision=COMMIT)
    with pytest.raises(UnsupportedModelError, match="expected tokens with ids below 1, the rows of"):
        check(project, "minishlab/potion")


def test_a_maximum_length_that_special_tokens_fill_is_seen(hub: HubSimulator, project: Project) -> None:
    files = {**model_files("mini"), "tokenizer.json": as_json({"post_processor": {"type": "BertProcessing"}})}
    hub.add_model("org/mini", {**files, "sentence_bert_config.json": as_json({"max_seq_length": 1})}, revision=COMMIT)
    with pytest.raises(
        UnsupportedModelError, match="max_seq_length: expected at least 3, because the tokenizer adds 2"
    ):
        check(project, "org/mini")


def test_a_model_whose_code_transformers_has_is_fine(hub: HubSimulator, project: Project) -> None:
    files = {**model_files("gte"), "config.json": as_json({**GTE_EN, "hidden_size": 8, "num_attention_heads": 2})}
    hub.add_model("Alibaba-NLP/gte-base-en-v1.5", files, revision=COMMIT)
    report = check(project, "Alibaba-NLP/gte-base-en-v1.5@main")
    assert report.architecture == "gte"
    assert list(report.configured) == ["config.json"]
    assert report.configured["config.json"][0].startswith(
        "without auto_map (Alibaba-NLP/new-impl--modeling.NewModel): "
    )


def test_a_plain_repository_of_transformers_with_pooling(hub: HubSimulator, project: Project) -> None:
    plain = {path: data for path, data in model_files("plain").items() if path.count("/") == 0}
    for path in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        del plain[path]
    hub.add_model("facebook/contriever", plain, revision=COMMIT)
    with pytest.raises(UnsupportedModelError, match=r"or `pooling` in models.yaml, found neither"):
        check(project, "facebook/contriever")
    report = check(project, "facebook/contriever", pooling=["cls"])
    assert (report.pooling, report.modules, report.dimension) == ("cls", ("Transformer", "Pooling"), 8)
    assert report.max_seq_length == 64
    assert list(report.configured) == ["1_Pooling/config.json", "modules.json"]
    assert "    pooling: cls\n" in report.entry


def test_a_language_model_without_pooling_is_refused_as_such(hub: HubSimulator, project: Project) -> None:
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8, "rope_theta": 1e6}
    plain = {**model_files("plain"), "config.json": as_json({**config, "max_position_embeddings": 32})}
    del plain["modules.json"]
    hub.add_model("Qwen/Qwen3-0.6B", plain, revision=COMMIT)
    with pytest.raises(UnsupportedModelError, match=r"found Qwen3ForCausalLM, and no modules.json: a language model"):
        check(project, "Qwen/Qwen3-0.6B")
    assert check(project, "Qwen/Qwen3-0.6B", pooling=["lasttoken"]).pooling == "lasttoken"


ALL = ("onnx-fp32", "onnx-int8", "torch-fp32")
TRUNCATION = {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
TWEETS = as_json({"tokenizer_class": "BertweetTokenizer", "normalization": True, "model_max_length": 64})


@pytest.mark.parametrize(
    ("files", "variants", "note"),
    [
        (model_files("x"), ALL, None),
        (static_model(), ALL, None),
        (
            {**static_model(), "tokenizer.json": as_json({"truncation": TRUNCATION, "model": {"vocab": {"a": 0}}})},
            ("torch-fp32",),
            "without onnx-fp32, onnx-int8: tokenizer.json: expected no truncation in a StaticEmbedding, found one",
        ),
        (
            {**model_files("x"), "tokenizer_config.json": TWEETS, "bpe.codes": b""},
            ("torch-fp32",),
            (
                "without onnx-fp32, onnx-int8: tokenizer_config.json: expected a tokenizer that `tokenizers` runs, "
                "found BertweetTokenizer with `normalization`"
            ),
        ),
        (
            {path: data for path, data in model_files("x").items() if path != "tokenizer.json"},
            ALL,
            (
                "its tokenizer has no tokenizer.json: a build converts it, and leaves out onnx-fp32, onnx-int8 if it "
                "cannot"
            ),
        ),
    ],
)
def test_variants_that_the_files_rule_out_are_not_promised(
    files: dict[str, bytes], variants: tuple[str, ...], note: str | None, hub: HubSimulator, project: Project
) -> None:
    hub.add_model("org/model", files, revision=COMMIT)
    report = check(project, "org/model")
    assert report.variants == variants
    about_variants = [line for line in report.notes if "onnx-fp32" in line]
    assert about_variants == ([] if note is None else [note])
    assert f"variants: [{'torch-fp32' if len(variants) == 1 else 'onnx-fp32'}]" in report.entry


def test_what_the_files_do_not_say_is_a_note(hub: HubSimulator, project: Project) -> None:
    files = model_files("dot")
    modules = json.loads(files["modules.json"])
    files["modules.json"] = as_json(modules[:2])
    hub.add_model(BGE, files, revision=COMMIT)
    notes = check(project, BGE).notes
    assert [note.partition(":")[0] for note in notes] == [
        "its files have no prompts",
        "its own vectors are not of unit length; `normalize",
    ]
    files["config_sentence_transformers.json"] = as_json({"similarity_fn_name": "dot"})
    hub.add_model(BGE, files, revision="b" * 40)
    assert "published for the dot product" in check(project, BGE).notes[0]


def test_a_directory_and_a_wheel(project: Project, find_links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    write_files(project.root / "model", model_files("own"))
    report = check(project, "directory:model")
    assert (report.name, report.source, report.revision) == ("model", "directory:model", None)
    assert report.entry.splitlines()[2].strip() == "- {directory: model}"
    write_files(project.root / "static", static_model())
    assert check(project, "./static").dimension == 300_000
    write_wheel(find_links, "a-model", "1.0", "package/model", static_model())
    report = check(project, "wheel:a-model==1.0!package/model")
    assert (report.dimension, report.license) == (300_000, None)


def test_a_vocabulary_that_is_too_large_to_read_here_is_a_note(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no refusal: ``lock`` accepts it."""
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(checking, "_MAX_SMALL", 300)
    write_files(project.root / "model", {**model_files("own"), "tokenizer.json": b"{}" + b" " * 1000})
    notes = check(project, "./model").notes
    assert [note for note in notes if note.startswith("tokenizer.json has 1,002 bytes, more than are read here")]
    assert not [note for note in notes if "vocab.txt" in note]


def test_weights_stay_out_of_the_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    files = {**model_files("own"), "model.safetensors": bytes(3_000_000)}
    write_files(project.root / "model", files)
    check(project, "./model")
    assert sum(path.stat().st_size for path in project.store.rglob("*") if path.is_file()) < 100_000


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"modules.json": None},
            "expected this file, or `pooling` in models.yaml, found neither",
        ),
        ({"modules.json": None, "config.json": None}, "or config.json of a transformer, found neither"),
        ({"adapter_config.json": b"{}"}, "found an adapter (PEFT)"),
        ({"model.safetensors": None}, "expected weights as safetensors, found none"),
        # What `lock` says of pickled weights and of code, `check-model` says as well.
        ({"model.safetensors": None, "pytorch_model.bin": b"x"}, "pickle: convert"),
        (
            {
                "config.json": as_json({"model_type": "own", "auto_map": {"AutoModel": "modeling.Own"}}),
                "modeling.py": b"import torch",
            },
            "modeling.py",
        ),
        ({"tokenizer.json": None, "vocab.txt": None}, "tokenizer.json: expected a tokenizer"),
        (
            {"config.json": as_json({"model_type": "bert", "vocab_size": 1}), "tokenizer.json": None},
            "vocab.txt: expected tokens with ids below 1",
        ),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    changes: dict[str, bytes | None], says: str, hub: HubSimulator, project: Project
) -> None:
    files = {path: data for path, data in {**model_files("x"), **changes}.items() if data is not None}
    hub.add_model(BGE, files, revision=COMMIT)
    with pytest.raises(UnsupportedModelError) as refused:
        check(project, BGE)
    assert str(refused.value).startswith(f"bge-small-en-v1-5 (hub:{BGE}@main): ")
    assert says in str(refused.value)
    # `add` refuses it with the same words.
    places = Places(file=project.file, lock=project.lock_file, store=project.store)
    with pytest.raises(UnsupportedModelError) as also:
        add.add(places, [NewModelOptions(source=BGE)], limits=FAST, watcher=project.watcher)
    assert str(also.value) == str(refused.value)


def test_a_source_without_an_answer(hub: HubSimulator, project: Project) -> None:
    hub.add_model(BGE, model_files("x"), revision=COMMIT)
    hub.fault("api", Status(503))
    with pytest.raises(SourceUnreachableError, match=f"bge-small-en-v1-5 from hub:{BGE}@main: "):
        check(project, BGE)
    with pytest.raises(UsageError, match="expected a repository of the Hub"):
        check(project, "not a source")
