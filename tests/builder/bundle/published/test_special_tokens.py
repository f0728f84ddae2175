"""A longest text has room for more than the special tokens."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.described import files_of
from tests.support.projects import as_json
from thoth_models_builder.bundle.published.special_tokens import refuse_without_room
from thoth_models_builder.errors import UnsupportedKeyError

if TYPE_CHECKING:
    from tests.support.tiny_models import TinyModel


def template(*ids: list[int]) -> dict[str, Any]:
    """Return a post-processor that adds so many tokens before and after a text, in one name for each list."""
    names = [f"<{index}>" for index in range(len(ids))]
    pieces: list[dict[str, Any]] = [{"SpecialToken": {"id": name, "type_id": 0}} for name in names]
    return {
        "type": "TemplateProcessing",
        "single": [*pieces, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [*pieces, *pieces],
        "special_tokens": {name: {"id": name, "ids": of, "tokens": []} for name, of in zip(names, ids, strict=True)},
    }


def refused(processor: object, longest: int, directory: str = "") -> str | None:
    path = f"{directory}/tokenizer.json" if directory else "tokenizer.json"
    try:
        refuse_without_room(files_of({path: as_json({"post_processor": processor})}), directory, longest)
    except UnsupportedKeyError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("processor", "added"),
    [
        (None, 0),
        ({"type": "ByteLevel"}, 0),
        ({"type": "BertProcessing"}, 2),
        ({"type": "RobertaProcessing"}, 2),
        (template([1]), 1),
        (template([1], [2]), 2),
        (template([1, 2, 3], [4]), 4),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template([1], [2])]}, 2),
        ({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {"x": 1}}, 0),
        ({"type": "TemplateProcessing", "single": [1, {"SpecialToken": 1}], "special_tokens": []}, 0),
        ({"type": "Sequence", "processors": 1}, 0),
        (functools.reduce(lambda inner, _: {"type": "Sequence", "processors": [inner]}, range(200), template([1])), 1),
        ([], 0),
    ],
)
def test_a_maximum_is_more_than_what_the_tokenizer_adds(processor: object, added: int) -> None:
    assert refused(processor, added + 1) is None
    if added:
        assert refused(processor, added) == (
            f"max_seq_length: expected at least {added + 1}, because the tokenizer adds {added} special tokens to each "
            f"text (tokenizer.json), found {added}"
        )
        assert refused(processor, min(added, 1)) is not None


def test_the_tokenizer_is_that_of_the_first_module() -> None:
    message = refused(template([1], [2]), 2, "0_Transformer")
    assert message is not None
    assert "(0_Transformer/tokenizer.json)" in message


def test_without_a_limit_or_a_file_nothing_is_refused() -> None:
    refuse_without_room(files_of({"tokenizer.json": as_json({"post_processor": template([1])})}), "", None)
    refuse_without_room(files_of({}), "", 1)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mini", "multilingual", "half"])
def test_it_counts_as_the_library_does(tiny_models_by_name: dict[str, TinyModel], name: str) -> None:
    model = tiny_models_by_name[name]
    files = files_of({"tokenizer.json": (model.directory / "tokenizer.json").read_bytes()})
    added = len(model.plain().tokenizer("")["input_ids"])
    refuse_without_room(files, "", added + 1)
    with pytest.raises(UnsupportedKeyError, match=f"adds {added} special tokens"):
        refuse_without_room(files, "", added)
