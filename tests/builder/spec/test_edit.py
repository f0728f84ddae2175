"""Where a model goes in the text of a models.yaml, what goes with it, and which layouts are refused.

That every other byte stays, for any file, is in tests/property/test_edit_keeps_bytes.py.
"""

from __future__ import annotations

import pytest

from thoth_models_builder.errors import SpecError
from thoth_models_builder.spec import edit
from thoth_models_builder.spec.edit import add_model, names_of, remove_model
from thoth_models_builder.spec.models_yaml import DirectorySource
from thoth_models_builder.spec.new_model import new_model

NEW = new_model(DirectorySource(directory="new"), ["torch-fp32"])
HEAD = "version: 1\nbundle: {name: b, default: a}\n"
ENTRY = "  new:\n    sources:\n      - {directory: new}\n    variants: [torch-fp32]\n"


def model(name: str, comment: str = "") -> str:
    return f"  {name}:{comment}\n    sources: [{{directory: {name}}}]\n    variants: [onnx-fp32]\n"


def added(text: str) -> str:
    return add_model(text.encode(), "models.yaml", "new", NEW).decode()


def removed(text: str, name: str) -> str:
    return remove_model(text.encode(), "models.yaml", name).decode()


# --- add ---


def test_a_model_is_added_after_the_others_and_before_comments_that_follow() -> None:
    text = f"{HEAD}models:\n{model('a', '  # ours')}"
    assert added(text) == text + ENTRY
    assert added(f"{text}  # more to come\n# the end\n") == f"{text}{ENTRY}  # more to come\n# the end\n"


def test_a_comment_within_the_last_model_stays_in_it() -> None:
    text = f"{HEAD}models:\n{model('a')}\n    # golden: false\n"
    assert added(f"{text}\n# the end\n") == f"{text}{ENTRY}\n# the end\n"


def test_other_keys_may_follow_the_models() -> None:
    text = f"version: 1\nmodels:\n{model('a')}"
    rest = "\n# about the bundle\nbundle: {name: b, default: a}\n"
    assert added(text + rest) == text + ENTRY + rest


def test_models_that_are_apart_stay_apart() -> None:
    text = f"{HEAD}models:\n{model('a')}\n{model('b')}"
    assert added(text) == f"{text}\n{ENTRY}"
    assert removed(f"{text}\n{ENTRY}", "b") == f"{HEAD}models:\n{model('a')}\n{ENTRY}"


def test_the_indentation_is_that_of_the_file() -> None:
    text = f"{HEAD}models:\n    a:\n       sources: [{{directory: a}}]\n       variants: [onnx-fp32]\n"
    assert added(text).removeprefix(text).splitlines()[:3] == [
        "    new:",
        "       sources:",
        "          - {directory: new}",
    ]


@pytest.mark.parametrize("empty", ["models:", "models: {}", "models:  {  }"])
@pytest.mark.parametrize("comment", ["", "  # none yet"])
def test_the_first_model_of_an_empty_list(empty: str, comment: str) -> None:
    head = "version: 1\nbundle: {name: b, default: new}\n"
    assert added(f"{head}{empty}{comment}\n# the end\n") == f"{head}models:{comment}\n{ENTRY}# the end\n"


@pytest.mark.parametrize("key", ["models: {  # put them here\n}", "models: &all {}", "models: null", "models: "])
def test_the_first_model_in_flow_style_takes_no_other_text_away(key: str) -> None:
    with pytest.raises(SpecError, match=r"models: expected `{}`, found .*; edit the file by hand"):
        added(f"{{version: 1, bundle: {{name: b, default: new}}, {key}}}")


def test_the_first_model_in_a_file_in_flow_style() -> None:
    text = '{"version": 1, "bundle": {"name": "b", "default": "new"}, "models": {}}'
    assert added(text) == text.replace(
        '"models": {}', '"models": {"new": {"sources": [{"directory": "new"}], "variants": ["torch-fp32"]}}'
    )


def test_a_name_that_is_taken_is_found_with_the_aliases() -> None:
    text = f"{HEAD}models:\n{model('a')}    aliases: [x/y]\n"
    assert names_of(text.encode(), "models.yaml") == ["a", "x/y"]
    assert names_of(b"models: {}", "models.yaml") == []


# --- remove ---


def test_a_model_goes_with_its_comments_and_others_keep_theirs() -> None:
    text = (
        f"{HEAD}models:\n  # about a\n{model('a')}    # within a\n# on its own\n\n"
        f"  # apart\n\n  # about b\n  # two lines\n{model('b', ' # beside')}    # within b\n  # after b\n{model('c')}"
    )
    first = f"{HEAD}models:\n  # about a\n{model('a')}    # within a\n# on its own\n\n  # apart\n\n"
    assert removed(text, "b") == f"{first}  # after b\n{model('c')}"
    assert "# after b" not in removed(text, "c")


def test_the_first_model_goes_with_the_blank_lines_after_it() -> None:
    text = f"version: 1\nbundle: {{name: b, default: b}}\nmodels:\n{model('a')}\n{model('b')}"
    assert removed(text, "a") == f"version: 1\nbundle: {{name: b, default: b}}\nmodels:\n{model('b')}"


def test_a_model_in_flow_style_goes_with_its_comma() -> None:
    item = "{sources: [{directory: x}], variants: [onnx-fp32]}"
    text = f"{HEAD}models: {{\n  a: {item},\n  b: {item},\n  c: {item} }}\n"
    assert removed(text, "b") == f"{HEAD}models: {{\n  a: {item},\n  c: {item} }}\n"
    assert removed(text, "c") == f"{HEAD}models: {{\n  a: {item},\n  b: {item} }}\n"
    head = HEAD.replace("default: a", "default: b")
    assert removed(text.replace(HEAD, head), "a") == f"{head}models: {{\n  b: {item},\n  c: {item} }}\n"


# --- what is refused ---


def test_a_removal_that_breaks_the_file_is_refused() -> None:
    text = f"{HEAD}models:\n{model('a')}  b: {{sources: &s [{{directory: x}}], variants: [onnx-fp32]}}\n"
    text += "  c: {sources: *s, variants: [onnx-fp32]}\n"
    with pytest.raises(SpecError, match=r"as it would become: 1 error\n.*undefined alias"):
        removed(text, "b")
    assert "  new:" in added(text)
    assert removed(text, "c") == text.replace("  c: {sources: *s, variants: [onnx-fp32]}\n", "")


def test_a_result_with_other_models_than_expected_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code gets wrong ends as an error, not as a file."""
    entry = ["  new: {sources: [{directory: another}], variants: [torch-fp32]}"]
    monkeypatch.setattr(edit, "block_entry", lambda *_arguments: entry)
    with pytest.raises(SpecError, match="found one that would change other models; edit the file by hand"):
        added(f"{HEAD}models:\n{model('a')}")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("models: {a: {sources: [{directory: x}], variants: [onnx-fp32]} # a\n }", "line 3: .*found a comment"),
        ("models:\n  ? a\n  : {sources: [{directory: x}], variants: [onnx-fp32]}", "line 4: .*start of its line"),
        ("models: null", "found 'null'"),
        ("models: []", "expected a mapping"),
    ],
)
def test_a_layout_that_cannot_be_edited(models: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        added(f"{HEAD}{models}\n")


def test_models_behind_an_alias_are_not_edited() -> None:
    text = "version: 1\nx: &m\n  a: 1\nmodels: *m\n"
    with pytest.raises(SpecError, match="found an alias"):
        names_of(text.encode(), "models.yaml")


def test_the_errors_of_a_file_are_its_own() -> None:
    with pytest.raises(SpecError, match=r"^models.yaml: 1 error\n  line 4: models.a.variants\[0\]"):
        added(f"{HEAD}models:\n  a: {{sources: [{{directory: x}}], variants: [onnx-fp16]}}\n")
    with pytest.raises(SpecError, match=r"^models.yaml: 1 error\n  models: expected this key, found nothing"):
        added("version: 1\n")
