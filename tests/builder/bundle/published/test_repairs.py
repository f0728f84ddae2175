"""Files of published models that a bundle has in another form: what changes, what does not, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.described import Files, facts_of, files_of
from tests.support.projects import as_json, model_files
from tests.support.published_configs import GTE_EN, NOMIC
from thoth_models_builder.bundle.published.repairs import repairs, with_repairs
from thoth_models_builder.errors import UnsupportedModelError

SETTINGS = "sentence_bert_config.json"


def changed(path: str, **values: Any) -> Files:
    contents = model_files("x")
    contents[path] = as_json({**json.loads(contents[path]), **values})
    return contents


def static_model(path: str) -> Files:
    """Return the files of a model of model2vec, such as minishlab/potion-base-8M."""
    header = as_json({"embeddings": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}})
    modules = [
        {"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    return {
        "modules.json": as_json(modules),
        "config.json": as_json({"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": 4}),
        "model.safetensors": len(header).to_bytes(8, "little") + header + bytes(32),
        "tokenizer.json": b"{}",
    }


def test_a_usual_model_stays_as_it_is() -> None:
    files = files_of(model_files("x"))
    assert repairs(files) == {}
    assert with_repairs(files) is files


@pytest.mark.parametrize("path", [".", "./"])
def test_a_dot_is_the_directory_of_the_model(path: str) -> None:
    (repair,) = repairs(files_of(static_model(path))).items()
    assert repair[0] == "modules.json"
    assert [entry["path"] for entry in json.loads(repair[1].data)] == ["", "1_Normalize"]
    assert repair[1].reason == f"path {path!r} is the directory of the model itself"
    assert facts_of(static_model(path)) == facts_of(static_model(""))


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("model_args", {"attn_implementation": "sdpa"}),
        ("model_args", {"attn_implementation": {"": "sdpa", "text_config": "eager"}}),
        ("model_kwargs", {"torch_dtype": "float16"}),
        ("model_args", {"torch_dtype": "auto", "trust_remote_code": True, "add_pooling_layer": False}),
        ("model_args", {"add_pooling_layer": False, "safe_serialization": True}),
        ("config_args", {"trust_remote_code": True, "use_cache": False}),
        ("tokenizer_args", {"trust_remote_code": False, "use_fast": True}),
        ("processor_kwargs", {}),
    ],
)
def test_arguments_that_do_not_change_vectors_are_dropped(key: str, arguments: dict[str, Any]) -> None:
    contents = changed(SETTINGS, **{key: arguments})
    found = repairs(files_of(contents))
    assert list(found) == [SETTINGS]
    assert json.loads(found[SETTINGS].data) == {"max_seq_length": 16, "do_lower_case": False}
    assert found[SETTINGS].reason.startswith(f"without {key}")
    assert all(name in found[SETTINGS].reason for name in arguments)
    assert facts_of(contents) == facts_of(model_files("x"))


def test_a_task_stays_for_code_of_the_models_own_alone() -> None:
    contents = changed(SETTINGS, model_args={"default_task": "retrieval", "attn_implementation": "sdpa"})
    repair = repairs(files_of(contents), has_code=True)[SETTINGS]
    assert json.loads(repair.data)["model_args"] == {"default_task": "retrieval"}
    assert repair.reason == "without model_args: attn_implementation (kernels of one formula)"
    alone = changed(SETTINGS, model_args={"default_task": "retrieval"})
    assert repairs(files_of(alone), has_code=True) == {}
    with pytest.raises(UnsupportedModelError, match=r"model_args\.default_task: expected only arguments"):
        repairs(files_of(alone))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("key", "arguments", "says"),
    [
        ("model_args", {"attn_implementation": "somewhere/else"}, "model_args.attn_implementation: expected only"),
        ("model_args", {"is_causal": False}, "model_args.is_causal: expected only arguments"),
        ("model_args", {"add_pooling_layer": True}, "model_args.add_pooling_layer"),
        ("model_args", {"subfolder": "elsewhere"}, "model_args.subfolder"),
        ("model_args", {"quantization_config": {"load_in_4bit": True}}, "model_args.quantization_config"),
        ("tokenizer_args", {"padding_side": "left"}, "tokenizer_args.padding_side"),
        ("tokenizer_args", {"use_fast": False}, "tokenizer_args.use_fast"),
        ("config_args", {"torch_dtype": "int8"}, "config_args.torch_dtype"),
        ("config_args", ["trust_remote_code"], "config_args: expected an object"),
    ],
)
def test_other_arguments_for_loading_are_refused_by_name(key: str, arguments: object, says: str) -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        repairs(files_of(changed(SETTINGS, **{key: arguments})))
    assert str(refused.value).startswith(f"{SETTINGS}: {says}")


@pytest.mark.parametrize(
    ("config", "stated", "kept"),
    [
        ({"model_type": "camembert", "max_position_embeddings": 514, "pad_token_id": 1}, 514, 512),
        ({"model_type": "bert", "max_position_embeddings": 512}, 8192, 512),
        ({"model_type": "bert", "max_position_embeddings": 512}, 512, 512),
        ({"model_type": "qwen3", "max_position_embeddings": 512, "rope_theta": 1e6}, 8192, 8192),
    ],
)
def test_a_maximum_beyond_the_positions_is_cut_to_them(config: dict[str, Any], stated: int, kept: int) -> None:
    contents = changed("config.json", **config)
    contents[SETTINGS] = as_json({"max_seq_length": stated})
    found = repairs(files_of(contents))
    assert ({SETTINGS} if stated != kept else set()) == set(found)
    if found:
        assert found[SETTINGS].reason.startswith(f"max_seq_length {kept} in place of {stated}: ")
    assert facts_of(contents).max_seq_length == kept


def test_a_maximum_that_is_stated_elsewhere_is_refused() -> None:
    contents = changed("config.json", model_type="roberta", max_position_embeddings=514)
    del contents[SETTINGS]
    contents["tokenizer_config.json"] = b"{}"
    with pytest.raises(UnsupportedModelError, match=r"state `max_seq_length: 512` in models.yaml"):
        facts_of(contents)


def test_a_maximum_is_not_cut_where_the_architecture_is_not_known() -> None:
    contents = changed("config.json", model_type="an-unknown-one", max_position_embeddings=512)
    contents[SETTINGS] = as_json({"max_seq_length": 8192})
    assert repairs(files_of(contents)) == {}
    with pytest.raises(UnsupportedModelError, match=r"state `max_seq_length: 512` in models\.yaml"):
        facts_of(contents)


def test_keys_that_only_deleted_code_reads_become_those_of_transformers() -> None:
    config = {key: value for key, value in NOMIC.items() if key != "auto_map"}
    files = files_of({**model_files("x"), "config.json": as_json({**config, "n_embd": 8, "n_head": 2})})
    (repair,) = repairs(files).values()
    assert json.loads(repair.data)["hidden_size"] == 8
    assert repair.reason.startswith("with the keys of transformers (modeling_hf_nomic_bert.NomicBertModel): ")
    assert repairs(files, has_code=True) == {}


def test_positions_that_depend_on_the_batch_are_refused_rather_than_cut() -> None:
    contents = changed("config.json", **{**NOMIC, "rotary_scaling_factor": 2, "n_embd": 8, "n_head": 2})
    contents[SETTINGS] = as_json({"max_seq_length": 8192})
    with pytest.raises(UnsupportedModelError, match=r"state `max_seq_length: 2048` in models.yaml"):
        facts_of(contents)
    contents[SETTINGS] = as_json({"max_seq_length": 2048})
    assert facts_of(contents).max_seq_length == 2048


def test_code_that_is_not_needed_is_dropped_with_its_reason_and_source() -> None:
    contents = changed("config.json", **{**NOMIC, "n_embd": 8, "n_head": 2})
    (path, repair), *others = repairs(files_of(contents)).items()
    assert (path, others) == ("config.json", [])
    assert "auto_map" not in json.loads(repair.data)
    assert repair.reason == (
        "without auto_map (nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel): transformers took this "
        "architecture over, and reads its weights under their published names "
        "(https://github.com/huggingface/transformers/pull/43067)"
    )
    assert facts_of(contents).dimension == 8


@pytest.mark.hostile
def test_code_that_is_needed_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"found modeling.Own, code of the model's own"):
        repairs(files_of(changed("config.json", auto_map={"AutoModel": "modeling.Own"})))


def test_the_first_module_may_have_a_directory_of_its_own() -> None:
    contents = model_files("x")
    modules = json.loads(contents["modules.json"])
    modules[0]["path"] = "0_Transformer"
    contents["modules.json"] = as_json(modules)
    for name in ("config.json", SETTINGS, "model.safetensors"):
        contents[f"0_Transformer/{name}"] = contents.pop(name)
    contents["0_Transformer/config.json"] = as_json(
        {**GTE_EN, "hidden_size": 8, "num_attention_heads": 2, "auto_map": {"AutoModel": "modeling.NewModel"}}
    )
    with pytest.raises(UnsupportedModelError, match=r"^0_Transformer/config.json: expected no `auto_map`"):
        repairs(files_of(contents))
    contents["0_Transformer/config.json"] = as_json({**GTE_EN, "hidden_size": 8, "num_attention_heads": 2})
    assert list(repairs(files_of(contents))) == ["0_Transformer/config.json"]
