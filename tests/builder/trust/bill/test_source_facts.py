"""What the small source files of a model say: architecture and licence text, or nothing where they are malformed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bills import ABOUT
from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models_builder.trust.bill.source_facts import MAX_SIZE, UNKNOWN, SourceFacts, paths_with_facts, source_facts

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "mini/source"


def test_a_configuration_says_the_architecture() -> None:
    files = {f"{SOURCE}/1_Pooling/config.json": b'{"word_embedding_dimension": 8}', f"{SOURCE}/config.json": ABOUT}
    assert source_facts(files, "mini") == SourceFacts(family="bert", architecture="BertModel")


def test_the_configuration_may_be_that_of_the_first_module() -> None:
    assert source_facts({f"{SOURCE}/0_Transformer/config.json": ABOUT}, "mini").family == "bert"


def test_a_licence_is_its_text() -> None:
    assert source_facts({f"{SOURCE}/LICENSE": "Füße\n".encode()}, "mini").licence_text == "Füße\n"


def test_of_several_licences_none_is_the_one() -> None:
    assert source_facts({f"{SOURCE}/LICENSE": b"a", f"{SOURCE}/COPYING.md": b"b"}, "mini") == UNKNOWN


@pytest.mark.hostile
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"model_type": 1, "architectures": "Bert"}',
        b'{"model_type": "a\\u202eb"}',
        b'{"model_type": "' + b"a" * 101 + b'"}',
        b'{"model_type": "../x"}',
        b'{"architectures": []}',
    ],
)
def test_a_malformed_configuration_says_nothing(data: bytes) -> None:
    assert source_facts({f"{SOURCE}/config.json": data}, "mini") == UNKNOWN


@pytest.mark.hostile
@pytest.mark.parametrize("architectures", ["[1]", '["a b"]', "{}", '[["BertModel"]]'])
def test_a_malformed_architecture_is_left_out(architectures: str) -> None:
    data = f'{{"model_type": "bert", "architectures": {architectures}}}'.encode()
    assert source_facts({f"{SOURCE}/config.json": data}, "mini") == SourceFacts(family="bert")


@pytest.mark.hostile
def test_a_licence_that_is_no_text_is_left_out() -> None:
    assert source_facts({f"{SOURCE}/LICENSE": b"\xff\xfe"}, "mini") == UNKNOWN


def test_only_small_files_that_say_something_are_read(tmp_path: Path) -> None:
    large = b"x" * (MAX_SIZE + 1)
    more = {"config.json": ABOUT, "LICENSE": b"text", "docs/LICENSE": b"other", "0_T/config.json": large}
    manifest = make_bundle(tmp_path / "bundle", [invented_model("mini", more=more), invented_model("mini2")])
    assert paths_with_facts(manifest, "mini") == [
        f"{SOURCE}/1_Pooling/config.json",
        f"{SOURCE}/LICENSE",
        f"{SOURCE}/config.json",
    ]
    make_writable(tmp_path)
