from __future__ import annotations

import tracemalloc
from datetime import date

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from thoth_models_builder.errors import SpecError
from thoth_models_builder.spec.yaml_document import KeyPath, YamlDocument, key_path_text, parse_yaml


def refusal(data: bytes) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_yaml(data, "some.yaml")
    assert len(caught.value.findings) == 1
    return caught.value


def findings(data: bytes) -> list[str]:
    return [str(finding) for finding in parse_yaml(data, "some.yaml").findings]


def test_plain_data_with_the_line_of_every_key() -> None:
    document = parse_yaml(b"# a comment\nfirst: 1\nsecond:\n  - a\n  - {b: true,\n     c: null}\n", "some.yaml")
    assert document.value == {"first": 1, "second": ["a", {"b": True, "c": None}]}
    assert document.findings == []
    assert document.line(()) == 2
    assert document.line(("first",)) == 2
    assert document.line(("second", 1)) == 5
    assert document.line(("second", 1, "b")) == 5
    assert document.line(("second", 1, "c")) == 6


def test_a_path_that_is_not_there_has_the_line_of_its_nearest_part() -> None:
    document = parse_yaml(b"\n\nmodels:\n  mini: {}\n", "some.yaml")
    assert document.line(("models", "mini", "sources", 0, "hub")) == 4
    assert document.line(("elsewhere",)) == 3


def test_a_document_without_lines_has_none() -> None:
    assert YamlDocument().line(("models",)) is None


@pytest.mark.parametrize("data", [b"", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_nothing_at_line_one(data: bytes) -> None:
    document = parse_yaml(data, "some.yaml")
    assert document.value is None
    assert document.line(("models",)) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1\n", "some.yaml").value == {"a": 1}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("models", "mini", "sources", 0, "revision"), "models.mini.sources[0].revision"),
        ((0, "a"), "[0].a"),
        (("line\nbreak", "\x1b[31m"), '"line\\nbreak"."\\u001b[31m"'),
    ],
)
def test_key_paths_read_as_people_write_them(path: KeyPath, text: str) -> None:
    assert key_path_text(path) == text


def test_a_repeated_key_is_found_with_both_lines_and_the_first_value_stays() -> None:
    document = parse_yaml(b"models:\n  mini: 1\n  mini: 2\n  mini: 3\n", "some.yaml")
    assert document.value == {"models": {"mini": 1}}
    assert list(map(str, document.findings)) == [
        "line 3: models.mini: expected each key once, found it again (first in line 2)",
        "line 4: models.mini: expected each key once, found it again (first in line 2)",
    ]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("1", "1; quote it"),
        ("yes", "yes; quote it"),
        ("2024-01-01", "2024-01-01; quote it"),
        ("~", "~; quote it"),
        ("!x y", "y; quote it"),
        ("9" * 100, "9" * 80 + "…; quote it"),
        ("? [a, b]\n", "a mapping or list"),
        ("? {a: b}\n", "a mapping or list"),
        ("<<", "a merge (<<); write the keys out"),
    ],
)
def test_keys_that_are_no_strings_are_found(key: str, found: str) -> None:
    data = f"a: 1\n{key}: {{}}\nb: 2\n".encode()
    document = parse_yaml(data, "some.yaml")
    # A scalar is taken as if it were quoted, so that nothing else is found to be missing.
    taken: dict[str, object] = {key.removeprefix("!x "): {}} if found.endswith("quote it") else {}
    assert document.value == {"a": 1, **taken, "b": 2}
    # Of a key of several lines, the first; `? ` begins one.
    assert [str(finding) for finding in document.findings] == [
        f"line 2: the document: expected keys that are strings, found {found}"
    ]


def test_a_quoted_key_is_a_string() -> None:
    assert parse_yaml(b"'1': {\"<<\": 2}\n", "some.yaml").value == {"1": {"<<": 2}}


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!own {b: 1}", "!own"),
        ("!own [b]", "!own"),
        ("!own b", "!own"),
        ("!!set {b}", "!!set"),
        ("!!omap [b: 1]", "!!omap"),
        ("!!python/name:os.system b", "!!python/name:os.system"),
        ('!!python/object/apply:os.system ["true"]', "!!python/object/apply:os.system"),
        ("!!bool b", "!!bool"),
        ("!!int ''", "!!int"),
        ("!!float ''", "!!float"),
        ("!!timestamp b", "!!timestamp"),
        ("!!binary '='", "!!binary"),
        ("!!map b", "!!map"),
        ("!!str [b]", "!!str"),
        ("!<tag:example.org,2000:x> b", "tag:example.org,2000:x"),
    ],
)
def test_tags_are_found_and_the_value_is_read_without(value: str, tag: str) -> None:
    document = parse_yaml(f"a:\n  - {value}\n".encode(), "some.yaml")
    assert list(map(str, document.findings)) == [f"line 2: a[0]: expected no tag, found {tag}"]
    (read,) = document.value["a"]  # type: ignore[index]
    assert read in ({"b": 1}, ["b"], "b", {"b": None}, [{"b": 1}], ["true"], "", "=")


def test_the_tag_of_a_string_is_as_good_as_quotes() -> None:
    document = parse_yaml(b"a: !!str 1234567\n", "some.yaml")
    assert document.value == {"a": "1234567"}
    assert document.findings == []


def test_scalars_have_the_types_of_yaml() -> None:
    document = parse_yaml(b"[1, 0x10, 1.5, yes, ~, 2024-01-02, 'x', \"y\"]\n", "some.yaml")
    assert document.value == [1, 16, 1.5, True, None, date(2024, 1, 2), "x", "y"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2024-13-01", "month must be in 1..12"),
        ("0x_", "invalid literal for int() with base 16"),
        ("9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_a_scalar_that_has_the_form_of_a_number_and_is_none_is_found(text: str, reason: str) -> None:
    shown = text if len(text) <= 80 else text[:80] + "…"
    assert findings(f"a:\n  b: {text}\n".encode()) == [
        f"line 2: a.b: expected a value, found {shown} ({reason}); quote it"
    ]


def test_several_findings_of_one_file_come_together() -> None:
    assert len(findings(b"a: 1\na: 2\n3: 4\nb: !c d\ne: {e: 1, e: 2}\n")) == 4


@pytest.mark.parametrize(
    ("data", "line", "found"),
    [
        (b"a: [1\nb: 2\n", 2, "while parsing a flow sequence"),
        (b"a: 1\n\tb: 2\n", 2, "cannot start any token"),
        (b"a: 1\n--- \nb: 2\n", 2, "but found another document"),
        (b"a: 1\n...\nb: 2\n", 3, "expected '<document start>'"),
        (b"a: *nowhere\n", 1, "undefined alias"),
        (b"a: 'open\n", 2, "while scanning a quoted scalar"),
        (b"a: &x 1\nb: @c\n", 2, "cannot start any token"),
        (b"%YAML 9.9\n---\na: 1\n", 1, "incompatible YAML document"),
        (b"a: 1\nb: \xff\n", 2, "found the byte 0xff"),
        (b"a: 1\nb: \x00\n", 2, "found the character U+0000"),
        (b'a: 1\nb: "\\U00110000"\n', 2, "chr() arg not in range"),
        (b'a: 1\nb: "\\UFFFFFFFF"\n', 2, "too large"),
    ],
)
def test_what_is_not_one_yaml_document_is_refused_with_its_line(data: bytes, line: int, found: str) -> None:
    error = refusal(data)
    assert error.findings[0].line == line
    assert str(error).startswith(f"some.yaml: 1 error\n  line {line}: the document: expected ")
    assert found in str(error)


@pytest.mark.hostile
@pytest.mark.unmeasured
def test_a_file_that_is_too_large_is_not_parsed() -> None:
    assert "expected at most 1048576 bytes, found 1048577" in str(refusal(b"#" * (1024 * 1024 + 1)))
    assert parse_yaml(b"#" * (1024 * 1024), "some.yaml").value is None


@pytest.mark.hostile
@pytest.mark.unmeasured
def test_anchors_that_multiply_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    tracemalloc.start()
    try:
        error = refusal("\n".join(lines).encode())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "expected at most 100000 values, at most 50 deep, anchors expanded, found more" in str(error)
    assert most < 100_000_000


@pytest.mark.hostile
def test_an_anchor_in_itself_is_bounded() -> None:
    assert "at most 50 deep" in str(refusal(b"a: &a [*a]\n"))


def test_an_anchor_as_such_is_fine() -> None:
    assert parse_yaml(b"a: &a [1]\nb: *a\n", "some.yaml").value == {"a": [1], "b": [1]}


@pytest.mark.hostile
def test_the_depth_is_bounded() -> None:
    assert parse_yaml(b"[" * 51 + b"]" * 51, "some.yaml").findings == []
    assert "at most 50 deep" in str(refusal(b"[" * 52 + b"]" * 52))


@pytest.mark.hostile
@pytest.mark.unmeasured
def test_nesting_without_end_is_refused() -> None:
    assert "found something else" in str(refusal(b"[" * 100_000))


_PIECES = [
    *(
        "a",
        "b",
        "-",
        "1",
        "_",
        "=",
        "0x",
        ": ",
        ":",
        "- ",
        "? ",
        "\n",
        "\n  ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "#",
        "<<",
    ),
    *(
        "&x ",
        "*x",
        "!y ",
        "!!int ",
        "!!bool ",
        "!!set ",
        "'",
        '"',
        "\\",
        "\\U",
        "FFFFFFFF",
        "|",
        ">",
        "~",
        "@",
        "%YAML 1.1\n",
    ),
    *("---\n", "...\n", "2024-99-99", "1e999", ".nan", "\x00", "\ufffe", "\U0001f642"),
]


@pytest.mark.hostile
@settings(deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=25).map("".join))
@example("a: !!timestamp b")
@example("? !!bool a\n: 1")
def test_any_text_is_either_read_or_refused(text: str) -> None:
    refused: SpecError | None = None
    try:
        parse_yaml(text.encode(), "some.yaml")
    except SpecError as error:
        refused = error
    if refused is not None:
        first, *rest = str(refused).splitlines()
        assert first == "some.yaml: 1 error"
        assert len(rest) == 1
