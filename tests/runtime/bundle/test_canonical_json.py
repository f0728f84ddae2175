from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from thoth_models.bundle.canonical_json import FormatError, Node, canonical_json, parse_json, safe_path
from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

HEX = "0" * 64


def test_one_value_has_one_spelling() -> None:
    assert canonical_json({"b": [1, None, True], "a": "é\n"}) == '{"a":"é\\n","b":[1,null,true]}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected JSON in UTF-8"),
        (b"{", "expected JSON in UTF-8"),
        (b'"\xff"', "expected JSON in UTF-8"),
        (b"\xef\xbb\xbf{}", "expected JSON in UTF-8"),
        (b'"\\ud800"', "expected JSON in UTF-8"),
        (b'{"\\udfff": 1}', "expected JSON in UTF-8"),
        (b"[" * 100_000, "expected JSON in UTF-8"),
        (b"1" * 5_000, "expected integers of 64 bits, found 1111"),
        (b'{"a":1,"b":2,"a":3}', "expected each key once, found 'a' twice"),
        (b'[{"x":{"a":1,"a":1}}]', "expected each key once, found 'a' twice"),
        (b"1.0", "expected integers only, found 1.0"),
        (b"[1e3]", "expected integers only, found 1e3"),
        (b"NaN", "expected integers only, found NaN"),
        (b"-Infinity", "expected integers only, found -Infinity"),
        (b"9" * 400, "expected integers of 64 bits, found " + "9" * 80 + "…"),
        (b"[9223372036854775808]", "expected integers of 64 bits, found 9223372036854775808"),
        (b"[-9223372036854775809]", "expected integers of 64 bits, found -9223372036854775809"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_not_json_of_ours_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)):
        parse_json(data)


@pytest.mark.parametrize(
    ("value", "read", "message"),
    [
        ([], lambda node: node.members("a"), "the document: expected an object, found a list"),
        ({}, lambda node: node.members("a"), "the document: expected the key 'a', found only an empty object"),
        ({"c": 1}, lambda node: node.members("a"), "the document: expected the key 'a', found only 'c'"),
        ({"a": 1, "c": 1}, lambda node: node.members("a"), "the document: expected only the keys 'a', found 'c'"),
        ({"a": 1, "c": 1}, lambda node: node.members("a", optional=("b",)), "only the keys 'a', 'b', found 'c'"),
        ({"a": 1}, lambda node: node.members("a")["a"].text(), "a: expected a string, found an integer"),
        (
            {"a": {"b": 1}},
            lambda node: node.members("a")["a"].members("b")["b"].items(),
            "a.b: expected a list, found an",
        ),
        ({"x.y": None}, lambda node: node.mapping()[0].text(), '["x.y"]: expected a string, found nothing (null)'),
        ([1, True], lambda node: node.items()[1].integer(minimum=0), "[1]: expected an integer, found a boolean"),
        ([0], lambda node: node.items()[0].integer(minimum=1), "[0]: expected an integer of at least 1, found 0"),
        (1, lambda node: node.boolean(), "expected a boolean, found an integer"),
        (1.5, lambda node: node.text(), "expected a string, found a number"),
        ((), lambda node: node.text(), "expected a string, found something else"),
        ({}, lambda node: node.optional_text(), "expected a string, found an object"),
        ("B", lambda node: node.matching(re.compile("[a-z]"), "one small letter"), 'one small letter, found "B"'),
        ("aa", lambda node: node.matching(re.compile("[a-z]"), "one small letter"), 'one small letter, found "aa"'),
        (["b", "a"], lambda node: node.sorted_unique(Node.text), "expected a sorted list without repetitions"),
        (["a", "a"], lambda node: node.sorted_unique(Node.text), "expected a sorted list without repetitions"),
        (True, lambda node: node.one_of(1, 2), "expected 1 or 2, found true"),
        ("x", lambda node: node.one_of("accept", "refuse"), 'expected "accept" or "refuse", found "x"'),
        ("x", lambda node: node.digest(), "expected a sha256 of 64 lower-case hexadecimal digits"),
        (
            {"K": 1},
            lambda node: node.mapping()[0].key_node().integer(minimum=0),
            '["K"] (the key): expected an integer',
        ),
        ("y" * 200, lambda node: node.one_of("x"), f'found "{"y" * 79}…'),
    ],
)
def test_errors_name_key_path_expected_and_found(value: object, read: Callable[[Node], Any], message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)):
        read(Node(value, ""))


def test_values_are_read() -> None:
    node = parse_json(
        f'{{"text":"a","none":null,"list":["a","b"],"flag":false,"number":3,"sha":"{HEX}","pick":"x"}}'.encode()
    )
    keys = node.members("text", "none", "list", "flag", "number", "sha", optional=("pick", "other"))
    assert keys["text"].text() == keys["text"].optional_text() == keys["text"].matching(re.compile("a"), "a") == "a"
    assert keys["none"].optional_text() is None
    assert keys["list"].sorted_unique(Node.text) == ("a", "b")
    assert keys["flag"].boolean() is False
    assert keys["number"].integer(minimum=3) == 3
    assert keys["sha"].digest() == Digest(HEX)
    assert keys["pick"].one_of("y", "x") == "x"


@pytest.mark.parametrize("key", ["", "[", 'a["', '"]', "\\", "a.b", "é", "\n", '["x"]'])
def test_keys_that_are_data_come_back_as_they_are(key: str) -> None:
    [entry] = parse_json(canonical_json({"outer": {key: 1}})).members("outer")["outer"].mapping()
    assert entry.key == key
    assert entry.key_node().text() == key
    assert entry.path.startswith("outer[")


@pytest.mark.parametrize("path", ["a", "a/b.c/d", "...", "..a", "a b", "-rf", "é/日", "x" * 255, "a/" * 400 + "b"])
def test_safe_paths(path: str) -> None:
    assert safe_path(Node(path, "")) == path


@pytest.mark.hostile
@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "a/", "a//b", ".", "..", "./a", "../x", "a/../b", "a/..", "a\\b", "..\\x", "a\nb",
        "a\rb", "a\tb", "a\0b", "\x7f", "x" * 256, "é" * 128, "a/" * 512 + "b", "not-utf8-\udcff",
    ],
    ids=ascii,
)  # fmt: skip
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(FormatError, match="place: expected a relative path"):
        safe_path(Node(path, "place"))


def test_a_path_is_text() -> None:
    with pytest.raises(FormatError, match="expected a string, found an integer"):
        safe_path(Node(1, ""))


@pytest.mark.hostile
def test_many_keys_one_of_them_twice_take_no_time_squared() -> None:
    data = b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b',"299999":0}'
    with pytest.raises(FormatError, match="found '299999' twice"):
        parse_json(data)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "data",
    [
        b'{"%b":1,"%b":1}' % (b"k" * 400_000, b"k" * 400_000),
        b'{"%b":1}' % (b"k" * 400_000),
        b'{"a":{"%b":1}}' % (b"k" * 400_000),
        b'{"a":"%b"}' % (b"v" * 400_000),
        b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}",
        b"1." + b"0" * 400_000,
    ],
)
def test_errors_are_short_whatever_the_document_has(data: bytes) -> None:
    with pytest.raises(FormatError) as raised:
        parse_json(data).members("a")["a"].mapping()[0].text()
    assert len(str(raised.value)) < 2_500
