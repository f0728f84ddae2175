"""What a model is, from its small files: the same as sentence-transformers says, or a refusal."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.described import Files, facts_of, files_of, modules
from tests.support.projects import as_json, model_files
from thoth_models_builder.bundle.describe import ModelFacts, Module, read_modules
from thoth_models_builder.errors import UnsupportedKeyError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.tiny_models import TinyModel

ST_CONFIG = "config_sentence_transformers.json"


def changed(path: str, **values: Any) -> Files:
    """Return the files of a model with other values in one of its tables; None takes a key out."""
    contents = model_files("x")
    table = {**json.loads(contents.get(path, b"{}")), **values}
    contents[path] = as_json({key: value for key, value in table.items() if value is not None})
    return contents


# --- the same as the library says ---


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mini", "multilingual", "prompted", "half"])
def test_what_is_told_is_what_the_library_says(tiny_models_by_name: dict[str, TinyModel], name: str) -> None:
    model = tiny_models_by_name[name]
    paths = [path for path in model.directory.rglob("*") if path.is_file()]
    facts = facts_of({path.relative_to(model.directory).as_posix(): path.read_bytes() for path in paths})
    plain = model.plain()
    from sentence_transformers.sentence_transformer.modules import Pooling

    pooling = next(module for module in plain if isinstance(module, Pooling))
    assert facts.dimension == plain.get_embedding_dimension() == model.dimension
    assert facts.max_seq_length == plain.max_seq_length == model.max_seq_length
    assert facts.pooling == pooling.pooling_mode == model.pooling
    assert facts.has_normalize == any(type(module).__name__ == "Normalize" for module in plain) == model.has_normalize
    assert facts.similarity == plain.similarity_fn_name
    assert facts.prompts == plain.prompts
    assert facts.default_prompt_name == plain.default_prompt_name


@pytest.mark.torch
@pytest.mark.parametrize("config", [{}, {"max_seq_length": None}, {"max_seq_length": 31}])
def test_the_length_is_found_where_the_library_finds_it(
    wordpiece_model: TinyModel, tmp_path: Any, config: dict[str, Any]
) -> None:
    import shutil
    from dataclasses import replace

    copy = shutil.copytree(wordpiece_model.directory, tmp_path / "model")
    for path in copy.glob("sentence_*_config.json"):
        table = json.loads(path.read_bytes())
        table.pop("max_seq_length", None)
        path.write_bytes(as_json({**table, **config}))
    contents = {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert facts_of(contents).max_seq_length == replace(wordpiece_model, directory=copy).plain().max_seq_length


# --- single facts ---


def test_a_plain_model() -> None:
    assert facts_of(model_files("x")) == ModelFacts(
        dimension=8,
        max_seq_length=16,
        pooling="mean",
        has_normalize=True,
        similarity="cosine",
        prompts={"query": "", "document": ""},
        default_prompt_name=None,
    )


OLD = {"pooling_mode_mean_tokens": None}


@pytest.mark.parametrize(
    ("values", "pooling", "dimension"),
    [
        ({}, "mean", 8),
        (OLD, "mean", 8),
        ({**OLD, "pooling_mode_cls_token": True}, "cls", 8),
        ({**OLD, "pooling_mode_lasttoken": True}, "lasttoken", 8),
        ({**OLD, "pooling_mode_weightedmean_tokens": True}, "weightedmean", 8),
        ({**OLD, "pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens", 8),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, "cls+max+mean", 24),
        ({"pooling_mode": "cls"}, "cls", 8),
        ({"pooling_mode": ["mean", "max"]}, "mean+max", 16),
        ({"include_prompt": False}, "mean without prompt", 8),
        ({"embedding_dimension": 8, "word_embedding_dimension": None}, "mean", 8),
    ],
)
def test_pooling(values: dict[str, Any], pooling: str, dimension: int) -> None:
    facts = facts_of(changed("1_Pooling/config.json", **values))
    assert (facts.pooling, facts.dimension) == (pooling, dimension)


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "config", "expected"),
    [
        (16, 64, 512, 16),
        (None, 64, 512, 64),
        (None, 1000, 512, 512),
        (None, 10**30 + 7, 512, 512),
        (None, 1e30, 512, 512),
        (None, None, 512, 512),
        (None, 64, None, 64),
        (None, 0.5, 512, 512),
        (None, -1, 512, 512),
    ],
)
def test_the_maximum_length(sentence: int | None, tokenizer: float | None, config: int | None, expected: int) -> None:
    contents = changed("sentence_bert_config.json", max_seq_length=sentence)
    contents["tokenizer_config.json"] = as_json({} if tokenizer is None else {"model_max_length": tokenizer})
    contents["config.json"] = as_json(
        {"hidden_size": 8} | ({} if config is None else {"max_position_embeddings": config})
    )
    assert facts_of(contents).max_seq_length == expected


def test_a_model_without_small_extras_is_described() -> None:
    contents = model_files("x")
    for path in (ST_CONFIG, "sentence_bert_config.json", "tokenizer_config.json"):
        del contents[path]
    facts = facts_of(contents)
    assert (facts.similarity, facts.max_seq_length) == ("cosine", 64)


def test_a_transformer_in_a_directory_of_its_own_with_a_dense_layer() -> None:
    contents = model_files("x")
    own = {
        f"0_Transformer/{path}": contents[path]
        for path in ("config.json", "model.safetensors", "sentence_bert_config.json")
    }
    contents = {
        "modules.json": modules("Transformer", "Pooling", "Dense", "LayerNorm", "Dropout"),
        **own,
        "1_Pooling/config.json": contents["1_Pooling/config.json"],
        "2_Dense/config.json": as_json({"in_features": 8, "out_features": 5}),
        "2_Dense/model.safetensors": b"",
        "3_LayerNorm/config.json": as_json({"dimension": 5}),
        "3_LayerNorm/model.safetensors": b"",
    }
    facts = facts_of(contents)
    assert (facts.dimension, facts.max_seq_length, facts.has_normalize) == (5, 16, False)
    for path in ("2_Dense/model.safetensors", "3_LayerNorm/model.safetensors", "0_Transformer/model.safetensors"):
        missing = {other: data for other, data in contents.items() if other != path}
        missing[path.replace("model.safetensors", "pytorch_model.bin")] = b""
        with pytest.raises(
            UnsupportedModelError, match=f"^{path}: expected weights as safetensors, found none; pickled"
        ):
            facts_of(missing)


def followed_by(kind: str, **config: Any) -> Files:
    """Return the files of a model whose vectors of length 8 are given to another module."""
    entries = json.loads(model_files("x")["modules.json"])[:2]
    entries.append({"name": "2", "path": f"2_{kind}", "type": f"sentence_transformers.models.{kind}"})
    weights = {f"2_{kind}/model.safetensors": b""}
    return {**with_modules(as_json(entries)), f"2_{kind}/config.json": as_json(config), **weights}


@pytest.mark.parametrize(
    ("config", "dimension"),
    [
        ({"in_features": 8, "out_features": 5}, 5),
        ({"in_features": 8, "out_features": 5, "module_output_name": "sentence_embedding"}, 5),
        ({"in_features": 8, "out_features": 5, "module_input_name": "token_embeddings"}, 8),
        ({"in_features": 8, "out_features": 5, "module_output_name": "elsewhere"}, 8),
    ],
)
def test_a_vector_has_the_length_that_is_written_to_it(config: dict[str, Any], dimension: int) -> None:
    assert facts_of(followed_by("Dense", **config)).dimension == dimension


@pytest.mark.parametrize("key", ["hidden_size", "dim", "d_model", "n_embd", "emb_dim"])
def test_the_width_of_pooling_is_that_of_the_model_by_whatever_name(key: str) -> None:
    assert facts_of(changed("config.json", **{"hidden_size": None, key: 8})).dimension == 8
    with pytest.raises(UnsupportedModelError) as caught:
        facts_of(changed("config.json", **{"hidden_size": None, key: 32}))
    expected = f"1_Pooling/config.json: word_embedding_dimension: expected 32 ({key} of the model), found 8"
    assert str(caught.value) == expected


def test_a_width_that_no_known_key_states_is_that_of_pooling() -> None:
    assert facts_of(changed("config.json", hidden_size=None)).dimension == 8


@pytest.mark.parametrize("name", ["models.Transformer", "base.modules.transformer.Transformer"])
def test_modules_are_recognised_by_the_names_that_releases_gave_them(name: str) -> None:
    entries = [
        {"name": "0", "path": "", "type": f"sentence_transformers.{name}"},
        {"name": "1", "path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.Pooling"},
    ]
    found = read_modules(files_of({"modules.json": as_json(entries)}))
    assert found == [Module(kind="Transformer", directory=""), Module(kind="Pooling", directory="1_Pooling")]
    assert [module.path("config.json") for module in found] == ["config.json", "1_Pooling/config.json"]


@pytest.mark.parametrize(
    ("kinds", "config", "expected"),
    [
        (["Normalize"], {}, True),
        (["Normalize", "Dropout"], {}, True),
        (["Dense", "Normalize"], {}, True),
        (["Normalize", "Dense"], {}, False),
        (["Dropout"], {}, False),
        ([], {}, False),
        (["Normalize"], {"module_input_name": "sentence_embedding", "module_output_name": None}, True),
        (["Normalize"], {"module_input_name": "token_embeddings"}, False),
        (["Normalize"], {"module_output_name": "elsewhere"}, False),
    ],
)
def test_vectors_have_unit_length_when_they_leave_the_last_module(
    kinds: list[str], config: dict[str, str], *, expected: bool
) -> None:
    contents = model_files("x")
    entries = json.loads(contents["modules.json"])[:2]
    entries += [{"name": kind, "path": f"x_{kind}", "type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    contents["modules.json"] = as_json(entries)
    contents["x_Dense/config.json"] = as_json({"in_features": 8, "out_features": 8})
    contents["x_Dense/model.safetensors"] = b""
    contents["x_Normalize/config.json"] = as_json(config)
    assert facts_of(contents).has_normalize is expected


def test_prompts() -> None:
    facts = facts_of(changed(ST_CONFIG, prompts={"query": "Q: ", "web": None}, default_prompt_name="web"))
    assert facts.prompts == {"query": "Q: ", "document": "", "web": ""}
    assert facts.default_prompt_name == "web"
    assert facts_of(changed(ST_CONFIG, similarity_fn_name="dot")).similarity == "dot"


# --- refusals ---


def with_modules(content: bytes) -> Files:
    return {**model_files("x"), "modules.json": content}


def foreign(reference: str) -> Files:
    entries = json.loads(model_files("x")["modules.json"])
    entries[0]["type"] = reference
    return with_modules(as_json(entries))


def without(path: str) -> Files:
    contents = model_files("x")
    del contents[path]
    return contents


def pickled() -> Files:
    return {**without("model.safetensors"), "pytorch_model.bin": b""}


WRONG_MODES: tuple[object, ...] = ([], 1, [1], {}, ["mean", "x"])
ORDER = "modules.json: expected a Transformer and a Pooling, or a StaticEmbedding, and then others, found "
REFUSED: list[tuple[Callable[[], Files], str]] = [
    (
        lambda: changed("config.json", auto_map={"AutoModel": "x.Y"}),
        "config.json: expected no `auto_map`, found x.Y, code of the model's own",
    ),
    (lambda: changed("tokenizer_config.json", auto_map={}), "tokenizer_config.json: expected no `auto_map`, found one"),
    (lambda: changed("1_Pooling/config.json", auto_map=[]), "1_Pooling/config.json: expected no `auto_map`, found one"),
    (lambda: foreign("custom_st.Transformer"), "modules.json: [0].type: expected a module of sentence-transformers, "),
    (lambda: foreign("sentence_transformersx.Transformer"), "modules.json: [0].type: expected a module of sentence-tr"),
    (
        lambda: foreign("sentence_transformers.models.CLIPModel"),
        "modules.json: [0].type: expected one of Transformer,",
    ),
    (lambda: foreign("sentence_transformers.models.Dense"), ORDER + "Dense, Pooling, Normalize"),
    (lambda: with_modules(modules("Transformer")), ORDER + "Transformer"),
    (lambda: with_modules(modules("Transformer", "Pooling", "Pooling")), ORDER + "Transformer, Pooling, Pooling"),
    (lambda: with_modules(modules("StaticEmbedding", "Pooling")), ORDER + "StaticEmbedding, Pooling"),
    (lambda: with_modules(modules("Dense", "StaticEmbedding")), ORDER + "Dense, StaticEmbedding"),
    (lambda: with_modules(b"[]"), ORDER + "nothing"),
    (lambda: with_modules(b"{}"), "modules.json: expected a JSON list, found dict"),
    (lambda: with_modules(b"[1]"), "modules.json: [0]: expected an object with a string under `type`, found 1"),
    (
        lambda: with_modules(b'[{"type": 1}]'),
        "modules.json: [0]: expected an object with a string under `type`, found {",
    ),
    (lambda: with_modules(b"not JSON"), "modules.json: expected JSON, found something else ("),
    (lambda: with_modules(b"[" * 100_000), "modules.json: expected JSON, found something else ("),
    (lambda: with_modules(b"\xff"), "modules.json: expected JSON, found something else ("),
    (lambda: without("modules.json"), "modules.json: expected this file, or `pooling` in models.yaml, found neither"),
    (lambda: without("config.json"), "config.json: expected this file, found none"),
    (lambda: without("1_Pooling/config.json"), "1_Pooling/config.json: expected this file, found none"),
    (pickled, "model.safetensors: expected weights as safetensors, found none; pickled weights can "),
    (lambda: changed(ST_CONFIG, model_type="CrossEncoder"), f"{ST_CONFIG}: model_type: expected SentenceTransformer, "),
    (lambda: changed(ST_CONFIG, default_prompt_name="x"), f"{ST_CONFIG}: default_prompt_name: expected one of query, "),
    (lambda: changed(ST_CONFIG, default_prompt_name=["x"]), f"{ST_CONFIG}: default_prompt_name: expected one of quer"),
    (lambda: changed(ST_CONFIG, prompts=["x"]), f"{ST_CONFIG}: prompts: expected an object, found ['x']"),
    (lambda: changed(ST_CONFIG, prompts={"x": 1}), f"{ST_CONFIG}: prompts.x: expected a string, found 1"),
    (lambda: changed(ST_CONFIG, prompts={"x": "\ud800"}), f"{ST_CONFIG}: expected JSON, found something else ("),
    (lambda: changed(ST_CONFIG, similarity_fn_name="x"), f"{ST_CONFIG}: similarity_fn_name: expected cosine, dot, "),
    (lambda: changed("config.json", eps=float("nan")), "config.json: expected JSON, found something else ("),
    (
        lambda: changed("1_Pooling/config.json", pooling_mode="x"),
        "1_Pooling/config.json: pooling_mode: expected one or several of cls, max, mean, ",
    ),
    *(
        (
            partial(changed, "1_Pooling/config.json", pooling_mode=value),
            "1_Pooling/config.json: pooling_mode: expected one or several of cls, max, mean, ",
        )
        for value in WRONG_MODES
    ),
    (
        lambda: changed("1_Pooling/config.json", word_embedding_dimension=9),
        "1_Pooling/config.json: word_embedding_dimension: expected 8 (hidden_size of the model), found 9",
    ),
    (
        lambda: changed("config.json", hidden_size="8"),
        "config.json: hidden_size: expected a positive integer, found '8'",
    ),
    (
        lambda: followed_by("Dense", in_features=99, out_features=5),
        "2_Dense/config.json: in_features: expected 8, the length of the vectors that it is given, found 99",
    ),
    (
        lambda: followed_by("Dense", in_features=9, out_features=5, module_input_name="token_embeddings"),
        "2_Dense/config.json: in_features: expected 8, the length of the vectors that it is given, found 9",
    ),
    (
        lambda: followed_by("Dense", out_features=5),
        "2_Dense/config.json: in_features: expected a positive integer, found None",
    ),
    (
        lambda: followed_by("Dense", in_features=8, out_features=5, module_input_name=["x"]),
        "2_Dense/config.json: module_input_name: expected a string, found ['x']",
    ),
    (
        lambda: followed_by("LayerNorm", dimension=9),
        "2_LayerNorm/config.json: dimension: expected 8, the length of the vectors that it is given, found 9",
    ),
    *(
        (
            partial(changed, "sentence_bert_config.json", max_seq_length=value),
            f"sentence_bert_config.json: max_seq_length: expected a positive integer, found {value!r}",
        )
        for value in (0, -1, "16", True, 1.5)
    ),
]


@pytest.mark.parametrize(("contents", "message"), REFUSED)
def test_what_cannot_be_told_is_refused(contents: Callable[[], Files], message: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        facts_of(contents())
    assert str(caught.value).startswith(message)


@pytest.mark.hostile
@pytest.mark.parametrize("path", [None, 1, "..", "a/../..", "./x", "/etc", "1_Pooling/", "a//b"])
def test_a_module_outside_of_the_model_is_refused(path: object) -> None:
    entries = [{"type": "sentence_transformers.models.Transformer", "path": path}]
    with pytest.raises(UnsupportedModelError, match=r"modules\.json: \[0\]\.path: expected a directory of the model"):
        facts_of(with_modules(as_json(entries)))


def test_a_module_without_a_path_is_refused() -> None:
    """As the library does, with a KeyError."""
    with pytest.raises(UnsupportedModelError, match=r"\[0\]\.path: expected a directory of the model, found None$"):
        facts_of(with_modules(as_json([{"name": "0", "type": "sentence_transformers.models.Transformer"}])))


@pytest.mark.hostile
@pytest.mark.parametrize(("key", "name"), [("name", None), ("name", 1), ("name", "0"), ("title", "1")])
def test_a_module_without_a_name_of_its_own_is_refused(key: str, name: object) -> None:
    """The library keeps modules by name: the second of that name would take the place of the first."""
    first, second, *others = json.loads(model_files("x")["modules.json"])
    del second["name"]
    entries = [first, {**second, key: name}, *others]
    with pytest.raises(
        UnsupportedModelError, match=r"modules\.json: \[1\]\.name: expected a name that no other module"
    ):
        facts_of(with_modules(as_json(entries)))
    assert facts_of(with_modules(as_json([first, {**second, "name": "1"}, *others]))).dimension == 8


def test_two_configurations_for_the_length_are_refused() -> None:
    contents = {**model_files("x"), "sentence_xlm-roberta_config.json": b"{}"}
    with pytest.raises(
        UnsupportedModelError, match=r"expected one sentence_\*_config\.json, found sentence_bert_config"
    ):
        facts_of(contents)


def test_a_model_that_states_no_length_is_refused() -> None:
    contents = changed("config.json", max_position_embeddings=None)
    del contents["sentence_bert_config.json"], contents["tokenizer_config.json"]
    with pytest.raises(
        UnsupportedKeyError, match=r"^max_seq_length: expected this key in models\.yaml, or a maximum length in "
    ):
        facts_of(contents)
