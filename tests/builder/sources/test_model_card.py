"""The licence in a model card: read where it is stated plainly, never guessed, and never an error."""

from __future__ import annotations

import time

import pytest

from thoth_models_builder.sources.model_card import MAX_CARD_SIZE, StatedLicense, license_of


@pytest.mark.parametrize(
    "card",
    [
        b"---\nlicense: apache-2.0\n---\n# A model\n",
        b"---\r\nlanguage: en\r\nlicense: apache-2.0\r\ntags:\r\n- a\r\n---\r\n",
        b"---  \nlicense: 'apache-2.0'\n --- \n",
        b"---\nlicense: apache-2.0\n---",
        b"---\nlicense: apache-2.0\n---\nlicense: mit\n---\n",
        b"---\nx: {license: mit}\n? {license: mit}\n: mit\nlicense: apache-2.0\n---\n",
        b"---\nlicense: mit\nlicense: apache-2.0\n---\n",
        b"---\nx: &x {license: mit}\nlicense: !!str apache-2.0\ny: *x\n---\n",
        b"---\nlicense: >-\n  apache-2.0\n---\n",
    ],
)
def test_a_stated_licence_is_read(card: bytes) -> None:
    assert license_of(card) == StatedLicense("apache-2.0", None)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"# A model\nlicense: mit\n",
        b"\n---\nlicense: mit\n---\n",
        b"---\nlicense: mit\n",
        b"---\ntags: [a]\n---\n",
        b"---\n---\n",
        b"---\n- license\n---\n",
        b"---\nlicense: [mit, apache-2.0]\n---\n",
        b"---\nlicense: 2\n---\n",
        b"---\nlicense: yes\n---\n",
        b"---\nlicense: !!int '2'\n---\n",
        b"---\nlicense:\n---\n",
        b"---\nother: license\n---\n",
        b"---\n? [license]\n: mit\n---\n",
        b"---\nx: {license: mit}\n---\n",
        b"---\nlicense: mit\nx: " + b"[" * 70 + b"]" * 70 + b"\n---\n",
        b"---\nlicense: mit\nx: [" + b"a," * 500_000 + b"]\n---\n",
        b'---\nlicense: "mit\\e[2J"\n---\n',
        b"---\nlicense: " + b"x" * 201 + b"\n---\n",
        b"---\nlicense: {a: b\n---\n",
        b"---\nlicense: !!python/object/apply:os.getcwd []\n---\n",
        b"---\nlicense: 2001-99-99\ndate: 2001-99-99\n---\n",
        b"---\nlicense: \xff\xfe\n---\n",
        pytest.param(b"---\nx: " + b"[" * 20_000 + b"\n---\n", marks=pytest.mark.unmeasured),
        b"---\n" + b"#" * MAX_CARD_SIZE + b"\nlicense: mit\n---\n",
    ],
)
def test_a_model_card_of_another_form_states_no_licence(card: bytes) -> None:
    assert license_of(card) == StatedLicense(None, None)


MERGED = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
SHARED = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]


@pytest.mark.hostile
@pytest.mark.parametrize("lines", [SHARED, MERGED, ["a: " + ":".join(["1"] * 300_000)]])
def test_the_gigabytes_that_a_few_bytes_of_yaml_describe_are_not_made(lines: list[str]) -> None:
    """A number in base sixty of 600 KB takes minutes to compute, and merge keys gigabytes."""
    started = time.monotonic()
    assert license_of("\n".join(["---", *lines, "license: mit", "---", ""]).encode()).text == "mit"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("license: other", "license_name: acme-terms"), ("other (acme-terms)", None)),
        (
            ("license_link: LICENSE.md", "license_name: Acme Terms", "license: Other"),
            ("Other (Acme Terms)", "LICENSE.md"),
        ),
        (
            ("license: other", "license_name: x", "license_link: https://example.org/a/b.txt#c"),
            ("other (x)", "https://example.org/a/b.txt#c"),
        ),
        (("license: other",), ("other", None)),
        (("license: other", "license_link: terms/en.txt"), ("other", "terms/en.txt")),
        (("license: other", "license_name: ' '"), ("other", None)),
        # Another licence needs neither.
        (("license: mit", "license_name: x", "license_link: LICENSE"), ("mit", None)),
        (("license_name: x",), (None, None)),
    ],
)
def test_other_has_the_name_beside_it_and_a_link(lines: tuple[str, ...], expected: tuple[str | None, ...]) -> None:
    assert license_of("\n".join(["---", *lines, "---", ""]).encode()) == expected


@pytest.mark.hostile
@pytest.mark.parametrize("name", ['"a\\e[2J"', '"a\\u202eb"', "[a]", "{a: b}", "1", "x" * 201, "!!binary aGk="])
def test_a_name_that_is_no_plain_text_is_left_out(name: str) -> None:
    card = f"---\nlicense: other\nlicense_name: {name}\n---\n".encode()
    assert license_of(card) == StatedLicense("other", None)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://user:secret@example.org/",
        "https://example.org@evil.example/",
        "//evil.example/x",
        "../../../x",
        "a/../b",
        "/etc/passwd",
        "C:\\x",
        '"a b"',
        '"https://example.org/\\u202ex"',
        "'https://example.org/\"onclick=x'",
        "https://" + "a" * 500,
        "[x]",
    ],
)
def test_a_link_of_another_form_is_left_out(link: str) -> None:
    card = f"---\nlicense: other\nlicense_name: x\nlicense_link: {link}\n---\n".encode()
    assert license_of(card) == StatedLicense("other (x)", None)
