"""Which files a lock records: what a variant needs, and a reason for each other one."""

from __future__ import annotations

import pytest

from thoth_models_builder.spec.variants import VARIANTS, choose_files, is_configuration, path_in

MINI = {
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
}
"""What sentence-transformers/all-MiniLM-L6-v2 is made of, as published at commit 1110a243."""

MULTILINGUAL = MINI - {"vocab.txt"}
"""The same of sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2 at commit e8f8c211."""

PICKLE, FOREIGN = "pickled weights can run code when they are loaded", "another framework's weights"
CODE, DOCUMENTATION, OTHER = "a bundle carries no code", "documentation", "not among the files that torch-fp32 needs"
TALK = "for writing and conversations"

BESIDE = {
    ".gitattributes": DOCUMENTATION,
    "README.md": DOCUMENTATION,
    "onnx/model.onnx": FOREIGN,
    "onnx/model_O4.onnx": FOREIGN,
    "onnx/model_qint8_avx512.onnx": FOREIGN,
    "openvino/openvino_model.bin": PICKLE,
    "openvino/openvino_model.xml": FOREIGN,
    "openvino/openvino_model_qint8_quantized.xml": FOREIGN,
    "pytorch_model.bin": PICKLE,
    "tf_model.h5": FOREIGN,
}
"""What lies beside it in both repositories, and why it stays there."""

BESIDE_MINI = {
    **BESIDE,
    "rust_model.ot": FOREIGN,
    "train_script.py": CODE,
    "data_config.json": OTHER,
}
BESIDE_MULTILINGUAL = {**BESIDE, "sentencepiece.bpe.model": OTHER, "unigram.json": OTHER}


@pytest.mark.parametrize(
    ("needed", "modules", "beside"),
    [
        pytest.param(MINI, {"", "1_Pooling", "2_Normalize"}, BESIDE_MINI, id="mini"),
        pytest.param(MULTILINGUAL, {"", "1_Pooling"}, BESIDE_MULTILINGUAL, id="multilingual"),
    ],
)
def test_of_the_published_repositories_exactly_the_known_files_are_chosen(
    needed: set[str], modules: set[str], beside: dict[str, str]
) -> None:
    choice = choose_files([*beside, *needed, *needed], modules, ["torch-fp32"])
    assert choice.included == tuple(sorted(needed))
    assert {refusal.path: refusal.reason for refusal in choice.refused} == beside
    assert [refusal.path for refusal in choice.refused] == sorted(beside)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        *((f"x{ending}", PICKLE) for ending in (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")),
        *((f"x{ending}", FOREIGN) for ending in (".h5", ".msgpack", ".onnx", ".ot", ".gguf", ".tflite", ".mlmodel")),
        *((path, DOCUMENTATION) for path in ("LICENSE", "LICENSE.txt", "readme.MD", "a/picture.PNG", ".gitignore")),
        ("modeling_custom.py", CODE),
        ("1_Pooling/modeling.py", CODE),
        ("1_Pooling/pytorch_model.bin", PICKLE),
        ("coreml/float32_model.mlpackage/Data/weight", FOREIGN),
        ("chat_template.jinja", TALK),
        ("chat_template.json", TALK),
        ("additional_chat_templates/tool_use.jinja", TALK),
        ("generation_config.json", TALK),
        ("model.safetensors.bak", OTHER),
        ("model-1-of-2.safetensors", OTHER),
        ("Model.safetensors", OTHER),
        ("config.json\n", OTHER),
        ("elsewhere/config.json", OTHER),
        ("elsewhere/model.safetensors", OTHER),
        ("1_Pooling/deeper/config.json", OTHER),
        ("1_Pooling/modules.json", OTHER),
        ("optimizer.safetensors", OTHER),
    ],
)
def test_what_is_not_on_the_list_is_refused_with_a_reason(path: str, reason: str) -> None:
    choice = choose_files([path], {"", "1_Pooling"}, ["torch-fp32"])
    assert choice.included == ()
    assert [(refusal.path, refusal.reason) for refusal in choice.refused] == [(path, reason)]


@pytest.mark.parametrize(
    "path",
    [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "added_tokens.json",
        "sentence_xlm-roberta_config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "0_Transformer/config.json",
        "0_Transformer/sentence_bert_config.json",
        "0_Transformer/tokenizer.json",
        "0_Transformer/model.safetensors",
    ],
)
def test_what_other_shapes_of_models_need_is_chosen(path: str) -> None:
    assert choose_files([path], {"", "0_Transformer", "2_Dense"}, ["torch-fp32"]).included == (path,)


SLOW = ["merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "vocab.json"]


@pytest.mark.parametrize("directory", ["", "0_Transformer"])
def test_the_slow_form_of_a_tokenizer_is_chosen_only_without_the_fast_one(directory: str) -> None:
    slow = tuple(sorted(path_in(directory, name) for name in SLOW))
    assert choose_files(slow, {directory}, ["torch-fp32"]).included == slow
    fast = path_in(directory, "tokenizer.json")
    assert choose_files([*slow, fast], {directory}, ["torch-fp32"]).included == (fast,)
    # One beside another framework's graph is of no use to this variant.
    assert choose_files([*slow, "onnx/tokenizer.json"], {directory}, ["torch-fp32"]).included == slow


def test_a_path_is_relative_to_the_directory_of_the_model() -> None:
    assert (path_in("", "config.json"), path_in("1_Pooling", "config.json")) == ("config.json", "1_Pooling/config.json")


@pytest.mark.parametrize(
    ("directory", "elsewhere"), [("0_Transformer", ""), ("0_Transformer", "1_Pooling"), ("", "1_Pooling")]
)
def test_a_tokenizer_json_in_another_directory_displaces_no_tokenizer(directory: str, elsewhere: str) -> None:
    """The module reads its own, and without any it has an empty vocabulary, and one vector for all texts."""
    slow = {path_in(directory, name) for name in SLOW}
    other = path_in(elsewhere, "tokenizer.json")
    assert set(choose_files([*slow, other], {directory, elsewhere}, ["torch-fp32"]).included) == {*slow, other}


def test_the_merges_of_python_tokenizers_are_chosen_in_any_case() -> None:
    """PhoBERT's class reads ``vocab.txt`` and ``bpe.codes``, and no ``tokenizer.json``, which its repository has."""
    files = ("bpe.codes", "tokenizer.json", "vocab.txt")
    assert choose_files(files, {""}, ["torch-fp32"]).included == files


def test_a_reason_names_the_variants() -> None:
    choice = choose_files(["x"], {""}, ["torch-fp32", "another"])
    assert choice.refused[0].reason == "not among the files that another, torch-fp32 needs"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *((path, True) for path in ("modules.json", "config.json", "1_Pooling/config.json", "tokenizer_config.json")),
        *((path, True) for path in ("config_sentence_transformers.json", "sentence_bert_config.json")),
        *((path, False) for path in ("model.safetensors", "tokenizer.json", "vocab.txt", "a/modules.json")),
    ],
)
def test_configurations_are_told_from_the_rest(path: str, *, expected: bool) -> None:
    assert is_configuration(path) is expected


def test_the_variants_of_this_release() -> None:
    assert {name: (kind.backend, kind.precision, kind.directory) for name, kind in VARIANTS.items()} == {
        "onnx-fp32": ("onnx", "fp32", "onnx-fp32"),
        "onnx-int8": ("onnx", "int8", "onnx-int8"),
        "torch-fp32": ("torch", "fp32", "source"),
    }
    assert [name for name, kind in VARIANTS.items() if kind.is_compiled] == ["onnx-fp32", "onnx-int8"]
