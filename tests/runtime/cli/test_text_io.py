from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.full_disk import little_space
from thoth_models.cli.text_io import blocks, given, open_texts, replaced_at_end, write_jsonl
from thoth_models.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, data: bytes, input_format: str | None = None) -> list[str]:
    path.write_bytes(data)
    with open_texts(str(path), input_format) as texts:
        return list(texts)


def test_lines(tmp_path: Path) -> None:
    # A text may hold any character that Python, but not the format, counts as the end of a line.
    data = "one\n\ntwo\r\n\u2028three\x0b\x85\n{}\nlast".encode()
    assert read(tmp_path / "texts", data) == ["one", "", "two", "\u2028three\x0b\x85", "{}", "last"]
    assert read(tmp_path / "texts", b"") == []


def test_a_byte_order_mark_is_no_part_of_the_first_text(tmp_path: Path) -> None:
    assert read(tmp_path / "texts", "\ufeffwater\n\ufeffbread".encode()) == ["water", "\ufeffbread"]


def test_jsonl_by_the_ending_or_the_option(tmp_path: Path) -> None:
    data = b'"one"\n{"text": "two\\nlines", "id": 3}\n{"text":""}'
    expected = ["one", "two\nlines", ""]
    assert read(tmp_path / "texts.jsonl", data) == expected
    assert read(tmp_path / "texts", data, "jsonl") == expected
    assert len(read(tmp_path / "texts.jsonl", data, "lines")) == 3
    assert read(tmp_path / "texts.jsonl", data, "lines")[0] == '"one"'


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("texts", b"ok\n\xff\n", "texts, line 2: expected UTF-8, found invalid start byte at byte 0"),
        ("t.jsonl", b'"ok"\n{"text"\n', "t.jsonl, line 2: expected one JSON value, found something else"),
        ("t.jsonl", b'"ok"\n\n', "t.jsonl, line 2: expected one JSON value, found something else"),
        ("t.jsonl", b"[" * 200_000, "t.jsonl, line 1: expected one JSON value, found something else"),
        ("t.jsonl", b"3\n", 't.jsonl, line 1: expected a string, or an object with a string under "text"'),
        ("t.jsonl", b'{"txt":"a"}\n', 't.jsonl, line 1: expected a string, or an object with a string under "text"'),
        ("t.jsonl", b'"ok"\n"\\ud800"\n', "t.jsonl, line 2: expected Unicode text, found a lone surrogate at 0"),
        ("texts", b"ok\n" + b"x" * 262_145, "texts, line 2: expected at most 262,144 characters, found 262,145"),
        ("t.jsonl", b'{"text":null}\n', 't.jsonl, line 1: expected a string, or an object with a string under "text"'),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read(tmp_path / name, data)
    assert message in str(caught.value)


def test_a_text_of_the_command_line_is_named() -> None:
    with given(["a", "\udcff"]) as texts:
        assert next(texts) == "a"
        with pytest.raises(
            InvalidInputError, match=r"^--text\[1\]: expected Unicode text, found a lone surrogate at 0$"
        ):
            next(texts)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é\nb\n".encode())))
    with open_texts("-", None) as texts:
        assert list(texts) == ["é", "b"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"a"\nb\n')))
    with open_texts("-", "jsonl") as texts:
        assert next(texts) == "a"
        with pytest.raises(InvalidInputError, match="standard input, line 2: expected one JSON value"):
            next(texts)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_texts(str(tmp_path / "nothing"), None):
        pass


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 3000])
def test_blocks(count: int) -> None:
    texts = [str(index) for index in range(count)]
    found = list(blocks(iter(texts)))
    assert [text for block in found for text in block] == texts
    assert all(len(block) == 1024 for block in found[:-1])
    assert all(found)


def test_vectors_as_jsonl() -> None:
    file = io.BytesIO()
    parts = [np.array([[1, 2.5]], np.float32), np.zeros((0, 2), np.float32), np.array([[3, 4], [5, 6]], np.float32)]
    assert write_jsonl(file, iter(parts)) == 3
    assert [json.loads(line) for line in file.getvalue().splitlines()] == [
        {"index": 0, "embedding": [1, 2.5]},
        {"index": 1, "embedding": [3, 4]},
        {"index": 2, "embedding": [5, 6]},
    ]


def test_a_file_is_replaced_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    path.write_bytes(b"before")
    with replaced_at_end(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    with pytest.raises(ZeroDivisionError), replaced_at_end(path) as file:
        raise ZeroDivisionError
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "out.npy").symlink_to("far/out.npy")
    with replaced_at_end(tmp_path / "out.npy") as file:
        file.write(b"after")
    assert (tmp_path / "out.npy").is_symlink()
    assert (tmp_path / "far" / "out.npy").read_bytes() == b"after"


def test_a_disk_that_takes_a_part_of_a_line_is_an_error(tmp_path: Path) -> None:
    vectors = np.zeros((1, 2000), dtype=np.float32)
    with (
        (tmp_path / "output").open("wb", buffering=0) as unbuffered,
        little_space(),
        pytest.raises(OSError, match="File too large"),
    ):
        write_jsonl(unbuffered, [vectors])
