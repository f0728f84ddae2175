"""A model that is added to any models.yaml and removed again leaves the same bytes; adding changes no other byte."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import example, given

from thoth_models_builder.spec.edit import add_model, remove_model
from thoth_models_builder.spec.models_yaml import HubSource, parse_spec
from thoth_models_builder.spec.new_model import new_model

NEW = new_model(HubSource(hub="org/new", revision="1" * 40), ["onnx-fp32", "torch-fp32"], ["New", "yes"])
NAMES = ("no", "mini", "other", "123", "x-y")

comments = st.sampled_from(["# a word", "#", "# key: {value", "# - 'x", "#: sources: []", "# mini:", "# ünï 🙂"])
breaks = st.sampled_from(["\n", "\n", "\r\n"])


@st.composite
def entry(draw: st.DrawFn, name: str, column: int) -> list[str]:
    """Draw the lines of a model in one of the ways in which people write it, with comments in many places."""
    outer, inner = " " * column, " " * (column + draw(st.integers(1, 4)))
    tail = draw(st.sampled_from(["", " ", "  # beside", " #"]))
    quoted = draw(st.sampled_from(["'{}'", '"{}"'] if name in ("no", "123") else ["{}", "'{}'", '"{}"'])).format(name)
    if draw(st.booleans()):
        return [f"{outer}{quoted}: {{sources: [{{hub: org/{name}-x}}], variants: [torch-fp32], golden: false}}{tail}"]
    lines = [f"{outer}{quoted}:{tail}", f"{inner}variants: [onnx-fp32]", f"{inner}sources:"]
    source = [
        [f"{inner}- hub: org/{name}-x{tail}"],
        [f"{inner}  - {{hub: org/x, # a comment, with 'quotes", f"{inner}   revision: main}}{tail}"],
        [f"{inner}- directory: |-", f"{inner}    # not a comment", ""],
        [f'{inner}- directory: "a', f'{inner}    # b"{tail}'],
        [f"{inner}- directory: plain", f"{inner}    and more"],
    ]
    lines += draw(st.sampled_from(source))
    places = draw(st.lists(st.integers(1, 3), max_size=2))
    for place in sorted(places, reverse=True):
        lines.insert(place, draw(st.sampled_from(["", f"{inner}# within", "# at the left"])))
    return lines


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a models.yaml in block style."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    column = draw(st.integers(1, 4))
    gaps = st.lists(
        st.one_of(
            st.sampled_from(["", "", "  "]),
            st.builds(lambda indent, text: " " * indent + text, st.sampled_from([0, column, 8]), comments),
        ),
        max_size=3,
    )
    lines = [*draw(gaps), f"models:{draw(st.sampled_from(['', '  ', ' # all', ' !!map', ' &all']))}"]
    for name in names:
        lines += [*draw(gaps), *draw(entry(name, column))]
    lines += draw(gaps)
    others = ["version: 1", f"bundle: {{name: b, default: '{names[0]}'}}{draw(st.sampled_from(['', ' # end']))}"]
    lines = [*others, *lines] if draw(st.booleans()) else [*lines, *others, *draw(gaps)]
    if draw(st.booleans()):
        lines = [*draw(gaps), "---", *lines]
    end = draw(breaks)
    text = end.join(lines) + draw(st.sampled_from(["", end]))
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


@st.composite
def flow_files(draw: st.DrawFn) -> bytes:
    """Draw a models.yaml whose models are in flow style, or that is JSON."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    gap = draw(st.sampled_from([" ", "", "\n  ", "\n\n      "]))
    models = f",{gap}".join(
        f'"{name}": {{"sources": [{{"hub": "org/x"}}],{gap}"variants": ["onnx-fp32"]}}' for name in names
    )
    models = f"{{{gap}{models}{draw(st.sampled_from(['', ' ', ',' if gap else '']))}{gap}}}"
    if draw(st.booleans()):
        return f"version: 1\nmodels: {models}  # all\nbundle: {{name: b, default: '{names[0]}'}}\n".encode()
    return f'{{"version": 1, "models": {models},\n"bundle": {{"name": "b", "default": "{names[0]}"}}}}'.encode()


def is_inserted(before: bytes, after: bytes) -> bool:
    """Return whether ``after`` is ``before`` with something put in at one place."""
    start = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    return len(after) > len(before) and after.endswith(before[start:])


@given(st.one_of(files(), flow_files()))
@example(b"version: 1\nbundle: {name: b, default: a}\nmodels:\n  a: {sources: [{hub: x}], variants: [onnx-fp32]}")
def test_add_and_remove(data: bytes) -> None:
    before = parse_spec(data, "models.yaml")
    after = add_model(data, "models.yaml", "added", NEW)
    assert is_inserted(data, after)
    models = parse_spec(after, "models.yaml").models
    assert list(models.items()) == [*before.models.items(), ("added", NEW)]
    assert remove_model(after, "models.yaml", "added") == data


@given(files())
def test_what_is_removed_leaves_the_comments_of_others(data: bytes) -> None:
    names = list(parse_spec(data, "models.yaml").models)
    for name in names[1:]:
        after = remove_model(data, "models.yaml", name)
        assert list(parse_spec(after, "models.yaml").models) == [other for other in names if other != name]
        kept = [line for line in after.splitlines() if line.strip()]
        position = 0
        lines = data.splitlines()
        for line in kept:
            position = lines.index(line, position) + 1
