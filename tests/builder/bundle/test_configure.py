"""What the keys of models.yaml make of the files of the origin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.described import Files, facts_of, files_of, modules
from tests.support.projects import as_json, model_files, spec_of
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.bundle.model import ConfiguredFile
from thoth_models_builder.bundle import configure as configuring
from thoth_models_builder.bundle.configure import Change, Note, configure, has_unit_length, notes_on
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.bundle.space_of import space_of
from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.spec.key_types import POOLING_MODES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models_builder.bundle.configure import Configuration
    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.bundle.model_files import ModelFiles
    from thoth_models_builder.spec.models_yaml import ModelSpec

ST_CONFIG = "config_sentence_transformers.json"
SETTINGS = "sentence_bert_config.json"
POOLING = "1_Pooling/config.json"


def model(**keys: Any) -> ModelSpec:
    return spec_of({"mini": {"sources": [{"directory": "mini"}], **keys}}).models["mini"]


def plain() -> Files:
    """Return a repository of the transformers library alone."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    return {name: model_files("x")[name] for name in names}


def changed(path: str, contents: Files | None = None, **values: Any) -> Files:
    contents = contents or model_files("x")
    return {**contents, path: as_json({**json.loads(contents.get(path, b"{}")), **values})}


def configured(contents: Files, **keys: Any) -> Configuration:
    return configure(files_of(contents), model(**keys))


def facts(contents: Files, **keys: Any) -> ModelFacts:
    return describe(configured(contents, **keys).files)


def refusal(contents: Files, **keys: Any) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        configured(contents, **keys)
    return str(caught.value)


def test_without_keys_the_files_are_those_of_the_origin() -> None:
    contents = model_files("x")
    found = configured(contents)
    assert (found.configured, found.written, found.contents, found.notes) == ((), {}, {}, ())
    assert found.files.digests == files_of(contents).digests


# --- what the library knows by name ---


def test_the_prompt_is_left_out_of_pooling_for_instructor_as_the_library_does_by_name() -> None:
    named = [{"hub": "hkunlp/instructor-large"}, {"directory": "mirror"}]
    found = configured(model_files("x"), sources=named)
    reason = "include_prompt: false, which sentence-transformers assumes for hkunlp/instructor-large by its name"
    assert [(file.path, file.reasons) for file in found.configured] == [(POOLING, (reason,))]
    assert describe(found.files).pooling == "mean without prompt"
    # Files that say so already are those of the origin, and a model of another name keeps what its files say.
    assert configured(changed(POOLING, include_prompt=False), sources=named).configured == ()
    assert configured(model_files("x"), sources=[{"hub": "hkunlp/another"}]).configured == ()


# --- pooling ---


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_a_plain_repository_becomes_a_model_of_sentence_transformers(mode: str) -> None:
    found = configured(plain(), pooling=mode)
    reason = f"pooling: {mode} (models.yaml); the origin has no modules.json"
    assert found.configured == (
        ConfiguredFile(path=POOLING, origin=None, reasons=(reason,)),
        ConfiguredFile(path="modules.json", origin=None, reasons=(reason,)),
    )
    facts = describe(found.files)
    assert (facts.pooling, facts.dimension, facts.has_normalize, facts.max_seq_length) == (mode, 8, False, 64)
    assert found.files.digests.keys() == {*plain(), POOLING, "modules.json"}
    for path, data in found.written.items():
        assert data == canonical_json(json.loads(data))
        content = found.contents[path]
        assert (content.size, content.sha256) == (len(data), Digest.of(data))
        assert found.files.digests[path] == content.sha256


def test_several_modes_are_joined_in_the_order_of_the_key() -> None:
    found = facts(plain(), pooling=["mean", "cls"])
    assert (found.pooling, found.dimension) == ("mean+cls", 16)


@pytest.mark.parametrize("key", ["hidden_size", "dim", "d_model", "n_embd", "emb_dim"])
def test_the_width_has_other_names_in_other_architectures(key: str) -> None:
    assert facts({**plain(), "config.json": as_json({key: 24})}, pooling="cls", max_seq_length=9).dimension == 24


@pytest.mark.parametrize("config", [{}, {"hidden_size": None}])
def test_a_width_that_is_not_stated_is_not_guessed(config: dict[str, Any]) -> None:
    assert refusal({**plain(), "config.json": as_json(config)}, pooling="cls") == (
        "config.json: expected the length of a token's vector under one of hidden_size, dim, d_model, n_embd, emb_dim, "
        "found none"
    )


@pytest.mark.parametrize("config", [{"hidden_size": "8"}, {"hidden_size": 0, "dim": 8}, {"d_model": True}])
def test_a_width_that_is_no_positive_integer_is_refused(config: dict[str, Any]) -> None:
    key, value = next(iter(config.items()))
    message = refusal({**plain(), "config.json": as_json(config)}, pooling="cls")
    assert message == f"config.json: {key}: expected a positive integer, found {value!r}"


def test_a_plain_repository_without_the_key_is_refused_with_what_to_write() -> None:
    message = refusal(plain())
    assert message.startswith("modules.json: expected this file, or `pooling` in models.yaml, found neither. ")
    assert "sentence-transformers would silently assume mean pooling" in message
    assert "write for example `pooling: mean` or `pooling: cls`" in message


@pytest.mark.parametrize(
    ("contents", "pooling"),
    [
        (model_files("x"), "mean"),
        (changed(POOLING, pooling_mode="cls"), "cls"),
        (changed(POOLING, pooling_mode=["cls", "max"]), ["cls", "max"]),
        (changed(POOLING, pooling_mode_max_tokens=True), ["max", "mean"]),
        (changed(POOLING, include_prompt=False), "mean"),
        ({"modules.json": modules("StaticEmbedding"), "0_StaticEmbedding/model.safetensors": b""}, "mean"),
    ],
)
def test_pooling_that_the_files_state_may_be_repeated(contents: Files, pooling: Any) -> None:
    assert configured(contents, pooling=pooling).configured == ()


def test_pooling_that_contradicts_the_files_is_refused() -> None:
    expected = "as the model's own files say (modules.json), or no such key, found"
    assert refusal(model_files("x"), pooling="cls") == f"pooling: expected mean, {expected} cls"
    both = changed(POOLING, pooling_mode=["cls", "max"])
    assert refusal(both, pooling=["max", "cls"]) == f"pooling: expected [cls, max], {expected} [max, cls]"


# --- prompts ---


def test_prompts_replace_the_published_ones() -> None:
    published = changed(ST_CONFIG, prompts={"old": "Old: "}, similarity_fn_name="dot")
    found = configured(published, prompts={"query": "query: "}, default_prompt_name="query")
    (file,) = found.configured
    assert (file.path, file.origin) == (ST_CONFIG, Digest.of(published[ST_CONFIG]))
    assert file.reasons == ('default_prompt_name: "query", prompts: {"query":"query: "} (models.yaml)',)
    facts = describe(found.files)
    assert (facts.prompts, facts.default_prompt_name) == ({"query": "query: ", "document": ""}, "query")
    assert facts.similarity == "dot"


def test_prompts_need_no_published_configuration() -> None:
    found = configured(plain(), pooling="mean", prompts={"query": "query: "})
    assert [file.origin for file in found.configured] == [None, None, None]
    assert json.loads(found.written[ST_CONFIG]) == {"prompts": {"query": "query: "}}


@pytest.mark.parametrize(
    "keys",
    [
        {"prompts": {"web": "Web: "}},
        {"default_prompt_name": "web"},
        {"prompts": {"web": "Web: "}, "default_prompt_name": "web"},
    ],
)
def test_keys_that_repeat_what_is_published_change_nothing(keys: dict[str, Any]) -> None:
    published = changed(ST_CONFIG, prompts={"web": "Web: "}, default_prompt_name="web")
    assert configured(published, **keys).configured == ()


def test_a_published_default_stays_if_its_name_does_and_null_removes_it() -> None:
    published = changed(ST_CONFIG, prompts={"web": "Web: "}, default_prompt_name="web")
    assert facts(published, prompts={"web": "W: "}).default_prompt_name == "web"
    assert facts(published, default_prompt_name=None).default_prompt_name is None
    assert facts(published, prompts={}, default_prompt_name=None).prompts == {"query": "", "document": ""}
    assert refusal(published, prompts={"other": "O: "}) == (
        "prompts: expected 'web' among them, which the model uses by default, or `default_prompt_name` (null for "
        "none), found other"
    )


def test_a_default_that_no_prompt_has_is_refused() -> None:
    published = changed(ST_CONFIG, prompts={"web": "Web: "})
    assert refusal(published, default_prompt_name="net") == (
        "default_prompt_name: expected one of query, document, web, found 'net'"
    )
    assert facts(published, default_prompt_name="query").default_prompt_name == "query"


# --- length ---


def test_a_shorter_maximum() -> None:
    found = configured(model_files("x"), max_seq_length=12)
    assert [file.path for file in found.configured] == [SETTINGS]
    assert json.loads(found.written[SETTINGS]) == {"max_seq_length": 12, "do_lower_case": False}
    assert describe(found.files).max_seq_length == 12
    assert found.notes == ()


def test_a_longer_maximum_is_allowed_up_to_the_positions_and_noted() -> None:
    found = configured(model_files("x"), max_seq_length=64)
    assert describe(found.files).max_seq_length == 64
    (note,) = found.notes
    assert note.startswith("max_seq_length: 64 is more than the published 16; ")
    assert refusal(model_files("x"), max_seq_length=65) == (
        "max_seq_length: expected at most 64, because bert has 64 positions (max_position_embeddings), found 65; "
        "state `max_seq_length: 64` in models.yaml"
    )


def test_positions_are_no_limit_for_a_model_with_its_own_code() -> None:
    """An architecture of its own, as that with ALiBi whose files call it bert, has no positions of bert."""
    contents = changed(SETTINGS, max_seq_length=8192)
    reviewed = {"code": {"modeling.py": "0" * 64}, "variants": ["onnx-fp32"], "golden": True}
    assert configured(contents, **reviewed).configured == ()
    assert facts(contents, **reviewed).max_seq_length == 8192
    assert facts(model_files("x"), max_seq_length=8192, **reviewed).max_seq_length == 8192
    assert facts(contents).max_seq_length == 64


def test_positions_of_roberta_begin_behind_that_of_padding() -> None:
    contents = changed("config.json", model_type="roberta", max_position_embeddings=66, pad_token_id=1)
    assert facts(contents, max_seq_length=64).max_seq_length == 64
    assert refusal(contents, max_seq_length=65).startswith("max_seq_length: expected at most 64, ")


@pytest.mark.parametrize("positions", [None, -1])
def test_a_model_without_a_limit_of_its_own_takes_any(positions: int | None) -> None:
    contents = changed("config.json", max_position_embeddings=positions)
    assert facts(contents, max_seq_length=5000).max_seq_length == 5000


def test_a_maximum_for_a_model_that_states_none() -> None:
    contents = changed("config.json", plain(), max_position_embeddings=None)
    del contents["tokenizer_config.json"]
    found = configured(contents, pooling="mean", max_seq_length=20)
    assert describe(found.files).max_seq_length == 20
    assert json.loads(found.written[SETTINGS]) == {"max_seq_length": 20}
    assert found.notes == ()


def test_the_file_that_the_model_has_for_it_is_changed() -> None:
    contents = model_files("x")
    contents["sentence_roberta_config.json"] = contents.pop(SETTINGS)
    found = configured(contents, max_seq_length=12)
    assert [file.path for file in found.configured] == ["sentence_roberta_config.json"]


def test_a_transformer_in_a_directory_of_its_own() -> None:
    contents = {f"0_Transformer/{path}": data for path, data in plain().items()}
    contents |= {"modules.json": modules("Transformer", "Pooling"), POOLING: model_files("x")[POOLING]}
    assert list(configured(contents, max_seq_length=12).written) == [f"0_Transformer/{SETTINGS}"]


def test_the_published_maximum_may_be_repeated() -> None:
    assert configured(model_files("x"), max_seq_length=16).configured == ()
    # It is the tokenizer's, and no file of its own has it.
    assert list(configured(plain(), pooling="mean", max_seq_length=64).written) == ["modules.json", POOLING][::-1]


def test_a_static_embedding_has_no_maximum() -> None:
    contents = {"modules.json": modules("StaticEmbedding"), "0_StaticEmbedding/model.safetensors": b""}
    assert refusal(contents, max_seq_length=12) == (
        "max_seq_length: expected no such key, because a StaticEmbedding has no limit"
    )


# --- task ---

REVIEWED: dict[str, Any] = {"code": {"custom_st.py": "0" * 64}, "variants": ["onnx-fp32"], "golden": True}
TASKS = ["retrieval.query", "retrieval.passage", "text-matching"]


def of_several_tasks(tasks: list[str] | None = TASKS, **settings: Any) -> Files:
    """Return a repository whose first module, of its own code, takes a task with each call."""
    keys: dict[str, Any] = {} if tasks is None else {"lora_adaptations": tasks}
    contents = changed("config.json", None, **keys)
    entries = json.loads(contents["modules.json"])
    contents["modules.json"] = as_json([{**entries[0], "kwargs": ["task"]}, *entries[1:]])
    return changed(SETTINGS, contents, **settings)


def test_a_task_becomes_the_default_of_the_module() -> None:
    found = configured(of_several_tasks(), task="text-matching", **REVIEWED)
    assert [(file.path, file.reasons) for file in found.configured] == [
        (SETTINGS, ("task: text-matching (models.yaml)",))
    ]
    assert json.loads(found.written[SETTINGS])["model_args"] == {"default_task": "text-matching"}
    assert json.loads(found.written[SETTINGS])["max_seq_length"] == 16
    assert found.notes == ()


def test_each_task_has_a_space_of_its_own() -> None:
    spaces = set()
    for task in (*TASKS, None):
        files = configured(of_several_tasks(), task=task, **REVIEWED).files
        spaces.add(space_of(files, describe(files), normalize=True))
    assert len(spaces) == len(TASKS) + 1


def test_a_task_has_to_be_settled() -> None:
    assert refusal(of_several_tasks(), **REVIEWED) == (
        "task: expected one of retrieval.query, retrieval.passage, text-matching, because the first module takes a "
        "task with each call (modules.json: [0].kwargs), and a bundle has one graph; found no such key: write for "
        "example `task: text-matching`, or `task: null` for what the code does without one"
    )
    assert refusal(of_several_tasks(None), **REVIEWED).startswith("task: expected the name of one, because ")
    assert refusal(of_several_tasks(), task="retrieval", **REVIEWED) == (
        "task: expected one of retrieval.query, retrieval.passage, text-matching, found 'retrieval'"
    )


def test_a_published_task_settles_it_and_null_removes_it() -> None:
    contents = of_several_tasks(model_args={"default_task": "text-matching"})
    assert configured(contents, **REVIEWED).configured == ()
    assert configured(contents, task="text-matching", **REVIEWED).configured == ()
    found = configured(contents, task=None, **REVIEWED)
    assert "model_args" not in json.loads(found.written[SETTINGS])
    assert found.configured[0].reasons == ("task: null (models.yaml)",)
    assert configured(of_several_tasks(), task=None, **REVIEWED).configured == ()


def test_a_task_without_a_module_that_takes_one_is_refused() -> None:
    assert refusal(model_files("x"), task="text-matching", **REVIEWED).startswith(
        "task: expected no such key, because "
    )
    # Without code, the library's own module has no tasks, whatever modules.json says.
    assert refusal(of_several_tasks(), task="text-matching").startswith("task: expected no such key, because ")
    assert configured(of_several_tasks()).configured == ()


def test_a_prompt_for_the_task_is_noted_unless_it_is_the_default() -> None:
    contents = changed(ST_CONFIG, of_several_tasks(), prompts={"retrieval.query": "Represent: ", "text-matching": ""})
    (note,) = configured(contents, task="retrieval.query", **REVIEWED).notes
    assert note.endswith("`default_prompt_name: retrieval.query` makes them add it")
    keys = {"task": "retrieval.query", "default_prompt_name": "retrieval.query", **REVIEWED}
    assert configured(contents, **keys).notes == ()
    assert configured(contents, task="text-matching", **REVIEWED).notes == ()


# --- truncation ---


def test_the_published_truncation_is_a_fact() -> None:
    found = facts(changed(ST_CONFIG, truncate_dim=5))
    # The rest of a vector of unit length is shorter.
    assert (found.dimension, found.truncate_dim, found.has_normalize) == (5, 5, False)
    for harmless in (8, 9, None):
        found = facts(changed(ST_CONFIG, truncate_dim=harmless))
        assert (found.dimension, found.truncate_dim, found.has_normalize) == (8, None, True)


@pytest.mark.parametrize("value", [0, -1, "5", True, 1.5])
def test_a_published_truncation_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"^{ST_CONFIG}: truncate_dim: expected a positive integer"):
        facts_of(changed(ST_CONFIG, truncate_dim=value))


def test_truncation_by_key() -> None:
    found = configured(model_files("x"), truncate_dim=5)
    assert [file.reasons for file in found.configured] == [("truncate_dim: 5 (models.yaml)",)]
    assert describe(found.files).dimension == 5
    assert facts(changed(ST_CONFIG, truncate_dim=5), truncate_dim=7).dimension == 7
    assert configured(changed(ST_CONFIG, truncate_dim=5), truncate_dim=5).configured == ()
    assert configured(model_files("x"), truncate_dim=8).configured == ()
    assert refusal(model_files("x"), truncate_dim=9) == (
        "truncate_dim: expected at most 8, the length of a vector, found 9"
    )


# --- unit length ---


@pytest.mark.parametrize(
    ("normalize", "similarity", "itself", "expected"),
    [
        (True, "dot", False, True),
        (False, "cosine", True, False),
        ("auto", "cosine", False, True),
        ("auto", "dot", False, False),
        ("auto", "euclidean", False, False),
        ("auto", "manhattan", False, False),
        ("auto", "dot", True, True),
    ],
)
def test_unit_length(normalize: object, similarity: str, *, itself: bool, expected: bool) -> None:
    contents = changed(ST_CONFIG, similarity_fn_name=similarity)
    if not itself:
        contents["modules.json"] = as_json(json.loads(contents["modules.json"])[:2])
    wanted = model(normalize=normalize)
    found = describe(configure(files_of(contents), wanted).files)
    assert has_unit_length(wanted, found) is expected
    # There is something to say only where lengths are changed that the model was published with.
    assert bool(notes_on(wanted, found)) == (normalize is True and similarity != "cosine" and not itself)


def test_the_note_on_a_model_for_the_dot_product() -> None:
    contents = changed(ST_CONFIG, similarity_fn_name="dot", truncate_dim=4)
    (note,) = notes_on(model(), facts(contents))
    assert note.startswith("published for the dot product, with vectors that are not of unit length: `normalize: true`")


# --- rules ---


def test_rules_see_what_the_ones_before_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(files: ModelFiles, _: ModelSpec) -> Iterator[Change | Note]:
        yield Change(path="config.json", data=as_json({**files.json("config.json", dict), "a": 1}), reason="one")
        yield Change(path="added.json", data=b"{}", reason="added")

    def second(files: ModelFiles, _: ModelSpec) -> Iterator[Change | Note]:
        assert files.json("added.json", dict) == {}
        assert files.json("config.json", dict)["a"] == 1
        yield Change(path="config.json", data=as_json({**files.json("config.json", dict), "b": 2}), reason="two")
        yield Note(text="remark")

    monkeypatch.setattr(configuring, "RULES", (first, second))
    origin = files_of(model_files("x"))
    found = configured(model_files("x"))
    assert [(file.path, file.origin, file.reasons) for file in found.configured] == [
        ("added.json", None, ("added",)),
        ("config.json", origin.digests["config.json"], ("one", "two")),
    ]
    assert found.written["added.json"] == b"{}"
    assert found.contents["added.json"] == ContentDigest(size=2, sha256=Digest.of(b"{}"))
    assert found.written.keys() == found.contents.keys() == {"added.json", "config.json"}
    assert found.notes == ("remark",)


def test_a_change_that_leads_back_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(_: ModelFiles, __: ModelSpec) -> Iterator[Change | Note]:
        yield Change(path="config.json", data=b"{}", reason="there")

    def back(_: ModelFiles, __: ModelSpec) -> Iterator[Change | Note]:
        yield Change(path="config.json", data=model_files("x")["config.json"], reason="back")

    monkeypatch.setattr(configuring, "RULES", (there, back))
    found = configured(model_files("x"))
    assert (found.configured, found.written, found.contents) == ((), {}, {})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    prompts=st.dictionaries(texts, texts, max_size=3),
    length=st.integers(1, 64),
    kept=st.integers(1, 8),
    mode=st.sampled_from(POOLING_MODES),
)
def test_the_facts_are_what_the_keys_say(prompts: dict[str, str], length: int, kept: int, mode: str) -> None:
    keys: dict[str, Any] = {"prompts": prompts, "max_seq_length": length, "truncate_dim": kept, "pooling": mode}
    # As parsed, without YAML, which changes a few characters.
    wanted = model().model_copy(update={**keys, "pooling": (mode,)})
    once = configure(files_of(plain()), wanted)
    found = describe(once.files)
    assert found.prompts == {"query": "", "document": "", **prompts}
    assert (found.max_seq_length, found.dimension, found.pooling) == (length, kept, mode)
    # The result is a model whose files say so themselves, and need no change any more.
    assert configure(once.files, wanted).configured == ()
    assert configure(files_of(plain()), wanted).written == once.written
