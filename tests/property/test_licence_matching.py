"""Licences of any text: none makes the reader fail, SPDX expressions stay what they are, and the policy is logic."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from thoth_models_builder.errors import LicenceError
from thoth_models_builder.spec.licences.names import spdx_of
from thoth_models_builder.spec.models_yaml import LicencePolicy
from thoth_models_builder.trust.licence_policy import refuse_licences

IDS = ("MIT", "Apache-2.0", "GPL-3.0-only", "CC-BY-NC-4.0", "etalab-2.0", "ISC")
NAMES = ("gemma", "llama3", "openrail++", "other")
atoms = st.sampled_from(IDS + NAMES)
words = st.sampled_from(["AND", "OR", "WITH", "(", ")", "+", "-only", "LicenseRef-", ",", *IDS, *NAMES])
anything = (
    st.text(max_size=250) | st.lists(words, max_size=30).map(" ".join) | st.lists(words, max_size=30).map("".join)
)

cases = st.lists(st.booleans(), min_size=20, max_size=20)

Tree = str | tuple[str, tuple["Tree", ...]]
trees: st.SearchStrategy[Tree] = st.recursive(
    atoms,
    lambda parts: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(parts, min_size=2, max_size=3).map(tuple)),
    max_leaves=6,
)


def written(tree: Tree) -> str:
    if isinstance(tree, str):
        return tree
    operator, parts = tree
    return f" {operator} ".join(f"({written(part)})" for part in parts)


def holds(tree: Tree, permitted: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in permitted
    operator, parts = tree
    return (all if operator == "AND" else any)(holds(part, permitted) for part in parts)


def is_permitted(policy: LicencePolicy, published: str) -> bool:
    try:
        refuse_licences(policy, {"mini": published})
    except LicenceError:
        return False
    return True


@given(anything)
def test_any_text_is_a_licence_or_none_and_spdx_text_stays_as_it_is(text: str) -> None:
    spdx = spdx_of(text)
    if spdx is not None:
        assert spdx.isascii()
        if len(spdx) <= 200:
            assert spdx_of(spdx) == spdx


@given(anything, st.sets(st.sampled_from(IDS), min_size=1))
def test_nothing_is_allowed_that_names_no_allowed_id(text: str, allowed: set[str]) -> None:
    is_named = any(name.casefold() in text.casefold() for name in allowed)
    is_family = "GPL-3.0-only" in allowed and "gpl-3.0" in text.casefold()
    if not (is_named or is_family):
        assert not is_permitted(LicencePolicy(allow=sorted(allowed)), text)


@given(atoms, st.tuples(cases, cases))
def test_case_makes_no_difference(name: str, swapped: tuple[list[bool], list[bool]]) -> None:
    published, entry = (
        "".join(letter.swapcase() if swap else letter for letter, swap in zip(name, one, strict=False))
        for one in swapped
    )
    assert is_permitted(LicencePolicy(allow=[entry]), published)
    assert not is_permitted(LicencePolicy(deny=[entry]), published)


@given(trees, st.sets(atoms, min_size=1), st.sets(atoms))
def test_a_policy_is_what_the_lists_say_of_each_part(tree: Tree, allow: set[str], deny: set[str]) -> None:
    policy = LicencePolicy(allow=sorted(allow), deny=sorted(deny))
    text = written(tree)
    # Longer than publishers may state; then it is a name, which no list has.
    expected = holds(tree, allow - deny) and len(text) <= 200
    assert is_permitted(policy, text) is expected
    is_undenied = holds(tree, {*IDS, *NAMES} - deny) or len(text) > 200
    assert is_permitted(LicencePolicy(deny=sorted(deny)), text) is is_undenied
