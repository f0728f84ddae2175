"""`thoth-bundle check-model`, as it is typed: output, JSON, exit codes and the next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.hub_simulator import HubSimulator, Status
from tests.support.projects import COMMIT, FAST_OPTIONS, Project, as_json, model_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.builder_fixtures import Outcome

BGE = "BAAI/bge-small-en-v1.5"
FILES = {
    **model_files("bge", prompts={"query": "query: "}),
    "modeling.py": b"",
    "sentence_bert_config.json": as_json({"max_seq_length": 128, "model_args": {"torch_dtype": "auto"}}),
}


@pytest.fixture
def here(project: Project, hub: HubSimulator, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("THOTH_STORE", str(project.root.parent / "store"))
    hub.add_model(BGE, FILES, revision=COMMIT)
    return project


@pytest.mark.usefixtures("here")
def test_the_report(command: Callable[..., Outcome]) -> None:
    outcome = command("check-model", f"hub:{BGE}", *FAST_OPTIONS)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    locked = {path: data for path, data in FILES.items() if path not in {"README.md", "modeling.py"}}
    assert lines[:13] == [
        "bge-small-en-v1-5: by its small files, a bundle can contain it, as onnx-fp32, onnx-int8, torch-fp32",
        f"  source        hub:{BGE}@main, commit {COMMIT}",
        "  licence       apache-2.0",
        "  architecture  bert (Transformer, Pooling, Normalize)",
        "  dimension     8",
        "  maximum       64 tokens",
        "  pooling       mean",
        "  unit length   by the model itself",
        "  similarity    cosine",
        "  prompt        query: 'query: '",
        f"  weights       {len(FILES['model.safetensors']):,} bytes",
        f"  files         10, {sum(map(len, locked.values())):,} bytes",
        "  not checked   the weights, and whether each variant can be made and is accurate: only a build finds out",
    ]
    assert lines[13] == (
        "  configured: sentence_bert_config.json (without model_args: torch_dtype (the variant decides the "
        "precision); max_seq_length 64 in place of 128: bert has 64 positions (max_position_embeddings), longer texts "
        "fail)"
    )
    assert [line for line in lines if line.startswith("  locked: ")] == [f"  locked: {path}" for path in sorted(locked)]
    assert "  left out: modeling.py (a bundle carries no code)" in lines
    assert lines[lines.index("in models.yaml:") + 1 :] == [
        "  bge-small-en-v1-5:",
        "    sources:",
        f"      - {{hub: {BGE}, revision: {COMMIT}}}",
        "    variants: [onnx-fp32]",
        "    aliases: [bge-small-en-v1.5]",
    ]
    assert outcome.err.splitlines()[-1] == f"hint: `thoth-bundle add hub:{BGE}@main` writes this entry and locks it"


@pytest.mark.usefixtures("here")
def test_variants_that_its_files_rule_out_are_neither_promised_nor_in_the_entry(
    hub: HubSimulator, command: Callable[..., Outcome]
) -> None:
    tokenizer = as_json({"tokenizer_class": "BertweetTokenizer", "normalization": True})
    files = {**FILES, "tokenizer_config.json": tokenizer, "bpe.codes": b""}
    hub.add_model("org/tweets", files, revision=COMMIT)
    outcome = command("check-model", "org/tweets", *FAST_OPTIONS)
    lines = outcome.out.splitlines()
    assert lines[0] == "tweets: by its small files, a bundle can contain it, as torch-fp32"
    assert "    variants: [torch-fp32]" in lines
    hint = "hint: `thoth-bundle add hub:org/tweets@main --variant=torch-fp32` writes this entry and locks it"
    assert outcome.err.splitlines()[-1] == hint


@pytest.mark.usefixtures("here")
def test_as_json(command: Callable[..., Outcome]) -> None:
    outcome = command("check-model", BGE, "--json", *FAST_OPTIONS)
    document = json.loads(outcome.out)
    assert outcome.code == 0
    assert (document["ok"], document["dimension"], document["revision"]) == (True, 8, COMMIT)
    assert document["prompts"]["query"] == "query: "
    (reason,) = document["configured"]["sentence_bert_config.json"]  # as `lock --json` has it: a list for each file
    assert reason.startswith("without model_args: torch_dtype (the variant decides the precision); max_seq_length 64 ")


@pytest.mark.usefixtures("here")
def test_a_refusal_has_its_exit_code(hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    config = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    hub.add_model("org/reranker", {"config.json": as_json(config), "model.safetensors": b""}, revision=COMMIT)
    outcome = command("check-model", "org/reranker", *FAST_OPTIONS)
    assert (outcome.code, outcome.out) == (2, "")
    assert "with one label: a reranker (cross-encoder)" in outcome.err
    document = json.loads(command("check-model", "org/reranker", "--json", *FAST_OPTIONS).out)
    assert (document["ok"], document["error"]) == (False, "UnsupportedModelError")
    missing = command("check-model", "./nope", *FAST_OPTIONS)
    assert (missing.code, missing.err.splitlines()[-1]) == (
        3,
        "hint: check the path of the directory; in models.yaml, it is relative to that file",
    )
    hub.fault("api", Status(503))
    assert command("check-model", BGE, *FAST_OPTIONS).code == 3
