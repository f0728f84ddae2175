"""What a repository is instead of an embedding model, told from files in the shape of published ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.described import files_of
from tests.support.projects import as_json, model_files
from thoth_models_builder.bundle.kinds import kind_of, kind_paths, refuse_other_kinds
from thoth_models_builder.errors import UnsupportedModelError

if TYPE_CHECKING:
    from thoth_models_builder.bundle.model_files import ModelFiles

BERT: dict[str, Any] = {
    "architectures": ["BertModel"],
    "hidden_size": 384,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "vocab_size": 30522,
}
ST = "sentence_transformers."


def repository(*others: str, has_weights: bool = True, **small: Any) -> dict[str, bytes]:
    """Return the files of a repository: small ones by name with ``_json`` for the suffix, and paths of others."""
    contents = {f"{key.removesuffix('_json')}.json": as_json(value) for key, value in small.items()}
    weights = ("model.safetensors",) if has_weights else ()
    return {**contents, **dict.fromkeys((*others, *weights, "README.md", "tokenizer.json"), b"{}")}


def read(contents: dict[str, bytes]) -> ModelFiles:
    """Return the small files, which are found in two steps: modules.json names the directories of others."""
    top = files_of({path: contents[path] for path in kind_paths(contents, files_of({}))})
    return files_of({path: contents[path] for path in kind_paths(contents, top)})


def below(directory: str, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return a repository whose modules.json has the transformer in a directory of its own."""
    modules = as_json([{"type": f"{ST}models.Transformer", "path": directory}, DENSE[1]])
    return {**{f"{directory}/{path}": data for path, data in contents.items()}, "modules.json": modules}


def pipeline(*types: str) -> list[dict[str, Any]]:
    paths = ["", *(f"{index}_{kind.rpartition('.')[2]}" for index, kind in enumerate(types[1:], 1))]
    return [
        {"idx": index, "name": str(index), "path": path, "type": kind}
        for index, (path, kind) in enumerate(zip(paths, types, strict=True))
    ]


DENSE = pipeline(f"{ST}models.Transformer", f"{ST}models.Pooling")
CROSS_ENCODER = {**BERT, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}

KINDS = {
    "cross-encoder/ms-marco-MiniLM-L6-v2": (
        repository(config_json=CROSS_ENCODER),
        "reranker",
        (
            "config.json: architectures: expected an embedding model, found BertForSequenceClassification with one "
            "label: a reranker"
        ),
    ),
    "BAAI/bge-reranker-v2-m3": (
        repository(
            config_json={
                "architectures": ["XLMRobertaForSequenceClassification"],
                "id2label": {"0": "LABEL_0"},
                "label2id": {"LABEL_0": 0},
                "model_type": "xlm-roberta",
            }
        ),
        "reranker",
        "found XLMRobertaForSequenceClassification with one label",
    ),
    "a cross-encoder of sentence-transformers 6": (
        repository(
            config_json=CROSS_ENCODER,
            modules_json=pipeline(f"{ST}base.modules.Transformer"),
            config_sentence_transformers_json={"model_type": "CrossEncoder"},
        ),
        "reranker",
        "config_sentence_transformers.json: model_type: expected SentenceTransformer, found CrossEncoder",
    ),
    "a classifier of three labels": (
        repository(config_json={**BERT, "architectures": ["RobertaForSequenceClassification"], "num_labels": 3}),
        "classifier",
        "with 3 labels: a classifier",
    ),
    "naver/splade-v3": (
        repository(
            config_json={**BERT, "architectures": ["BertForMaskedLM"]},
            modules_json=pipeline(
                f"{ST}sparse_encoder.models.MLMTransformer", f"{ST}sparse_encoder.models.SpladePooling"
            ),
            config_sentence_transformers_json={"model_type": "SparseEncoder", "similarity_fn_name": "dot"},
        ),
        "sparse",
        "found SparseEncoder: a sparse model (SPLADE)",
    ),
    "splade without the model_type": (
        repository(config_json=BERT, modules_json=pipeline(f"{ST}models.MLMTransformer", f"{ST}models.SpladePooling")),
        "sparse",
        "modules.json: expected modules of a dense model, found sentence_transformers.models.MLMTransformer",
    ),
    "colbert-ir/colbertv2.0": (
        repository("artifact.metadata", "vocab.txt", config_json={**BERT, "architectures": ["HF_ColBERT"]}),
        "late interaction",
        "found HF_ColBERT: a late-interaction model (ColBERT)",
    ),
    "a ColBERT by its artifact alone": (
        repository("artifact.metadata", config_json=BERT),
        "late interaction",
        "artifact.metadata: expected an embedding model",
    ),
    "lightonai/GTE-ModernColBERT-v1": (
        repository(
            config_json={**BERT, "architectures": ["ModernBertModel"], "model_type": "modernbert"},
            modules_json=pipeline(f"{ST}models.Transformer", "pylate.models.Dense.Dense"),
            config_sentence_transformers_json={"query_prefix": "[Q] ", "similarity_fn_name": "MaxSim"},
        ),
        "late interaction",
        "modules.json: expected modules of a dense model, found pylate.models.Dense.Dense",
    ),
    "a ColBERT of sentence-transformers' own modules": (
        repository(config_json=BERT, modules_json=pipeline(f"{ST}models.Transformer", f"{ST}models.Dense")),
        "late interaction",
        "modules.json: expected a Pooling, found Transformer and Dense alone",
    ),
    "a multi-vector encoder": (
        repository(
            modules_json=pipeline(f"{ST}base.modules.Transformer", f"{ST}multi_vector_encoder.modules.MultiVectorMask")
        ),
        "late interaction",
        "found sentence_transformers.multi_vector_encoder.modules.MultiVectorMask",
    ),
    "sentence-transformers/clip-ViT-B-32": (
        repository("0_CLIPModel/pytorch_model.bin", modules_json=pipeline(f"{ST}models.CLIPModel")),
        "media",
        "found sentence_transformers.models.CLIPModel: a model of images or sound",
    ),
    "openai/clip-vit-base-patch32": (
        repository(config_json={"architectures": ["CLIPModel"], "model_type": "clip", "vision_config": {"a": 1}}),
        "media",
        "config.json: expected a model of text, found `vision_config`",
    ),
    "google/vit-base-patch16-224": (
        repository(config_json={"architectures": ["ViTModel"], "model_type": "vit", "image_size": 224}),
        "media",
        "config.json: model_type: expected a model of text, found vit",
    ),
    "a multimodal one of sentence-transformers 6": (
        repository(
            config_json={"model_type": "qwen3_vl"},
            modules_json=DENSE,
            sentence_bert_config_json={"modality_config": {"text": {}, "image+text": {}}},
        ),
        "media",
        "sentence_bert_config.json: modality_config: expected text alone, found image+text",
    ),
    "a LoRA adapter": (
        repository(
            "adapter_model.safetensors",
            has_weights=False,
            adapter_config_json={
                "base_model_name_or_path": "intfloat/e5-mistral-7b-instruct",
                "peft_type": "LORA",
                "r": 16,
                "task_type": "FEATURE_EXTRACTION",
            },
        ),
        "adapter",
        (
            "adapter_config.json: expected a whole model, found an adapter (LORA) for intfloat/e5-mistral-7b-instruct: "
            "it changes weights of that model, and has no others; merge both once with peft "
            "(`PeftModel.from_pretrained(base, adapter).merge_and_unload()`), save"
        ),
    ),
    "an adapter below the first module": (
        {"0_Transformer/adapter_config.json": b"{}", "0_Transformer/adapter_model.safetensors": b""},
        "adapter",
        "0_Transformer/adapter_config.json: expected a whole model, found an adapter (PEFT) for a base model that",
    ),
    "an adapter beside a whole model, in the directory of the first module": (
        below("encoder", repository("adapter_model.safetensors", config_json=BERT, adapter_config_json={})),
        "adapter",
        "encoder/adapter_config.json: expected a whole model, found an adapter (PEFT) for a base model that",
    ),
    "an adapter in the directory of a later module": (
        repository("1_Pooling/adapter_config.json", config_json=BERT, modules_json=DENSE),
        "adapter",
        "1_Pooling/adapter_config.json: expected a whole model, found an adapter",
    ),
    "a quantised checkpoint in the directory of the first module": (
        below("encoder", repository(config_json={**BERT, "quantization_config": {"quant_method": "gptq"}})),
        "quantised",
        "encoder/config.json: quantization_config: expected none, found gptq",
    ),
    "a quantised checkpoint below the path ./": (
        {
            **repository(config_json={**BERT, "quantization_config": {"quant_method": "gptq"}}),
            "modules.json": as_json([{**DENSE[0], "path": "./"}, DENSE[1]]),
        },
        "quantised",
        "config.json: quantization_config: expected none, found gptq",
    ),
    "a model of images in the directory of the first module": (
        below("0_CLIP", repository(sentence_bert_config_json={"modality_config": {"image": {}}})),
        "media",
        "0_CLIP/sentence_bert_config.json: modality_config: expected text alone, found image",
    ),
    "a bitsandbytes checkpoint": (
        repository(
            config_json={**BERT, "quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}},
            modules_json=DENSE,
        ),
        "quantised",
        "config.json: quantization_config: expected none, found bitsandbytes",
    ),
    **{
        f"a {method} checkpoint": (
            repository(config_json={**BERT, "quantization_config": {"quant_method": method}}, modules_json=DENSE),
            "quantised",
            f"config.json: quantization_config: expected none, found {method}",
        )
        for method in ("gptq", "awq", "fp8", "compressed-tensors")
    },
    "mlx-community": (
        repository(config_json={**BERT, "quantization": {"group_size": 64, "bits": 4}}, modules_json=DENSE),
        "quantised",
        "config.json: quantization: expected none, found 4 bits of MLX",
    ),
    "GGUF alone": (
        repository("model-Q8_0.gguf", "model-f16.gguf", has_weights=False),
        "converted",
        "model-Q8_0.gguf: expected weights as safetensors, found GGUF alone",
    ),
    "ONNX alone": (
        repository("onnx/model.onnx", has_weights=False, config_json=BERT),
        "converted",
        "onnx/model.onnx: expected weights as safetensors, found ONNX alone",
    ),
    "Qwen/Qwen3-0.6B": (
        repository(config_json={"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}),
        "generative",
        "found Qwen3ForCausalLM, and no modules.json: a language model that writes text",
    ),
    "google/flan-t5-base": (
        repository(config_json={"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}),
        "generative",
        "found T5ForConditionalGeneration, and no modules.json",
    ),
    "an asymmetric model": (
        repository(config_json=BERT, modules_json=pipeline(f"{ST}models.Router", f"{ST}models.Normalize")),
        "router",
        "found sentence_transformers.models.Router: a router",
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_it_is_and_what_to_do_is_one_line(case: str) -> None:
    contents, name, says = KINDS[case]
    files = read(contents)
    kind = kind_of(contents, files)
    assert kind is not None
    assert kind.name == name
    assert says in str(kind)
    assert "; " in str(kind)
    assert "\n" not in str(kind)
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_other_kinds(contents, files)
    assert str(refused.value) == str(kind)


@pytest.mark.parametrize(
    "contents",
    [
        model_files("x"),
        repository(config_json=BERT, modules_json=DENSE),
        # The class that a checkpoint was saved from does not count where modules.json says how it is used.
        repository(
            config_json={**BERT, "architectures": ["NewModel", "NewForTokenClassification"]}, modules_json=DENSE
        ),
        repository(config_json={"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}, modules_json=DENSE),
        repository(config_json={**BERT, "architectures": ["BertForMaskedLM"]}),
        repository("onnx/model.onnx", "model-Q8_0.gguf", "openvino/model.bin", config_json=BERT, modules_json=DENSE),
        repository("pytorch_model.bin", "colbert_linear.pt", has_weights=False, config_json=BERT, modules_json=DENSE),
        # A directory of adapters beside the merged model, as e5-mistral has it.
        repository("lora/adapter_config.json", config_json=BERT, modules_json=DENSE),
        repository(
            config_json={**BERT, "vision_config": None},
            modules_json=DENSE,
            sentence_bert_config_json={"modality_config": {"text": {"method": "forward"}}},
        ),
        repository(config_json={**BERT, "architectures": "BertModel"}, modules_json={}),
        below("encoder", repository("lora/adapter_config.json", config_json=BERT)),
        # Nothing reads a config.json at the top if the transformer is in another directory.
        {**below("encoder", repository(config_json=BERT)), "config.json": as_json({"vision_config": {"x": 1}})},
        {"config.json": b"not JSON", "model.safetensors": b""},
    ],
)
def test_an_embedding_model_is_none_of_these(contents: dict[str, bytes]) -> None:
    files = read(contents)
    assert kind_of(contents, files) is None
    refuse_other_kinds(contents, files)


def test_a_language_model_may_be_pooled_where_models_yaml_says_how() -> None:
    contents, _, _ = KINDS["Qwen/Qwen3-0.6B"]
    files = files_of({"config.json": contents["config.json"]})
    assert kind_of(contents, files, has_pooling=True) is None
    reranker, _, _ = KINDS["cross-encoder/ms-marco-MiniLM-L6-v2"]
    assert kind_of(reranker, files_of({"config.json": reranker["config.json"]}), has_pooling=True) is not None
