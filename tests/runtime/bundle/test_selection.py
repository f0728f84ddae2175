from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import ModelPlan, invented_model, make_bundle
from thoth_models.bundle.selection import ABSENT, NOT_ASKED_FOR, select
from thoth_models.errors import InvalidInputError, SpaceMismatchError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.selection import Selection


@pytest.fixture
def manifest_of(tmp_path: Path) -> Callable[..., Manifest]:
    def make(*models: ModelPlan, default: str | None = None) -> Manifest:
        return make_bundle(tmp_path / "bundle", models, default=default)

    return make


def names(selection: Selection) -> list[str]:
    return [f"{candidate.model.name}/{candidate.variant.name}" for candidate in selection.candidates]


def model(name: str, *alternates: tuple[str, str], **options: Any) -> ModelPlan:
    return invented_model(name, alternates=alternates, **options)


def test_a_name_an_alias_and_the_default(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini", aliases=("legacy",)), model("other"), default="mini")
    for name in ("mini", "legacy", None):
        selection = select(manifest, name)
        assert selection.requested == (name or "mini")
        assert selection.model is manifest.models["mini"]
        assert names(selection) == ["mini/torch-fp32"]
        assert selection.candidates[0].same_space
        assert selection.candidates[0].built is manifest.models["mini"].built
        assert selection.passed_over == ()
    assert names(select(manifest, "other")) == ["other/torch-fp32"]


def test_no_default(manifest_of: Callable[..., Manifest]) -> None:
    with pytest.raises(UnknownModelError, match="no name given, and the bundle 'test-bundle' has no default model"):
        select(manifest_of(model("mini")), None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minni", "nearest first: mini, multilingual-mini, "),
        ("Legacy", "nearest first: legacy, "),
        ("qq", "nearest first: qqq, "),
        ("", "nearest first: qqq, multilingual-mini, mini, legacy$"),
        ("🙂", "nearest first: qqq, multilingual-mini, mini, legacy$"),
    ],
)
def test_an_unknown_name_lists_all_known_ones_the_nearest_first(
    manifest_of: Callable[..., Manifest], name: str, message: str
) -> None:
    manifest = manifest_of(model("mini", aliases=("legacy",)), model("multilingual-mini"), model("qqq"))
    with pytest.raises(UnknownModelError, match=message) as caught:
        select(manifest, name)
    assert isinstance(caught.value, LookupError)
    assert repr(name) in str(caught.value)


def test_an_unknown_name_where_none_is_known(manifest_of: Callable[..., Manifest]) -> None:
    with pytest.raises(UnknownModelError, match=r"nearest first: none$"):
        select(manifest_of(), "mini")


@pytest.mark.parametrize("name", [1, b"mini", ["mini"]])
def test_a_name_is_text(manifest_of: Callable[..., Manifest], name: Any) -> None:
    with pytest.raises(InvalidInputError, match="name: expected a str or None, found"):
        select(manifest_of(model("mini")), name)


def test_variants_in_the_order_of_the_list_or_of_the_caller(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini", variants=("onnx-fp32", "torch-fp32", "onnx-int8")))
    assert names(select(manifest, "mini")) == ["mini/onnx-fp32", "mini/torch-fp32", "mini/onnx-int8"]
    selection = select(manifest, "mini", variants=["onnx-int8", "onnx-fp32", "onnx-int8"])
    assert names(selection) == ["mini/onnx-int8", "mini/onnx-fp32"]
    assert [(attempt.variant, attempt.reason) for attempt in selection.passed_over] == [("torch-fp32", NOT_ASKED_FOR)]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ([], "variants: expected at least one variant name or None, found an empty sequence"),
        ("torch-fp32", "variants: expected a sequence of variant names, found the one string 'torch-fp32'"),
        ({"torch-fp32"}, "variants: expected a sequence of variant names, found set"),
        ({"torch-fp32": 1}, "variants: expected a sequence of variant names, found dict"),
        (["torch-fp32", "x", "y"], "variants: expected names among torch-fp32, found 'x', 'y'"),
    ],
)
def test_unusable_variants(manifest_of: Callable[..., Manifest], variants: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        select(manifest_of(model("mini")), "mini", variants=variants)


@pytest.mark.parametrize("variants", [5, [["torch-fp32"]], [5]])
def test_variants_of_another_type(manifest_of: Callable[..., Manifest], variants: Any) -> None:
    with pytest.raises(InvalidInputError, match="variants: expected "):
        select(manifest_of(model("mini")), "mini", variants=variants)


def test_variants_that_can_be_read_once(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini", variants=("onnx-fp32", "torch-fp32")))
    once: Any = (name for name in ["torch-fp32"])
    assert names(select(manifest, "mini", variants=once)) == ["mini/torch-fp32"]


def test_variants_of_a_bundle_that_has_none(manifest_of: Callable[..., Manifest]) -> None:
    with pytest.raises(InvalidInputError, match="expected names among none, found 'torch-fp32'"):
        select(manifest_of(model("gone", variants=())), "gone", variants=["torch-fp32"])


def test_a_variant_that_only_another_model_has(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini"), model("other", variants=("onnx-fp32",)))
    selection = select(manifest, "mini", variants=["onnx-fp32"])
    assert selection.candidates == ()
    assert [str(attempt) for attempt in selection.passed_over] == [f"mini/torch-fp32: {NOT_ASKED_FOR}"]


def test_an_alternate_of_the_same_space_needs_no_permission(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini", ("twin", "refuse"), space="s"), model("twin", space="s"))
    for same_space in (False, True):
        selection = select(manifest, "mini", same_space=same_space)
        assert names(selection) == ["mini/torch-fp32", "twin/torch-fp32"]
        assert all(candidate.same_space for candidate in selection.candidates)


def test_an_alternate_of_another_space_needs_permission(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini", ("yes", "accept"), ("no", "refuse")), model("yes"), model("no"))
    selection = select(manifest, "mini")
    assert names(selection) == ["mini/torch-fp32", "yes/torch-fp32"]
    assert [candidate.same_space for candidate in selection.candidates] == [True, False]
    assert [str(attempt) for attempt in selection.passed_over] == [
        "no: its space is not that of 'mini', and models.yaml does not say `other_space: accept`"
    ]
    strict = select(manifest, "mini", same_space=True)
    assert names(strict) == ["mini/torch-fp32"]
    assert "the call asked for the same space" in strict.passed_over[0].reason


def test_an_absent_model(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("gone", ("other", "accept"), variants=()), model("other"))
    selection = select(manifest, "gone")
    assert names(selection) == ["other/torch-fp32"]
    assert not selection.candidates[0].same_space
    assert [(attempt.model, attempt.variant, attempt.reason) for attempt in selection.passed_over] == [
        ("gone", None, ABSENT)
    ]
    with pytest.raises(SpaceMismatchError, match="no model of the embedding space of 'gone' can answer") as caught:
        select(manifest, "gone", same_space=True)
    assert ABSENT in str(caught.value)


def test_an_absent_model_without_permission(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("gone", ("other", "refuse"), variants=()), model("other"))
    with pytest.raises(SpaceMismatchError, match=r"models\.yaml does not say `other_space: accept`"):
        select(manifest, "gone")


def test_an_absent_model_alone(manifest_of: Callable[..., Manifest]) -> None:
    selection = select(manifest_of(model("gone", variants=())), "gone")
    assert selection.candidates == ()
    assert [attempt.reason for attempt in selection.passed_over] == [ABSENT]


def test_another_dimension_is_never_accepted(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("gone", ("wide", "accept"), variants=(), dimension=8), model("wide", dimension=16))
    with pytest.raises(SpaceMismatchError, match="its vectors have 16 dimensions, those of 'gone' have 8"):
        select(manifest, "gone")


def test_alternates_of_alternates_in_order_and_loops(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(
        model("a", ("b", "accept"), ("c", "accept")),
        model("b", ("d", "accept"), ("a", "accept")),
        model("c", ("c", "accept")),
        model("d", ("a", "accept")),
    )
    assert [name[0] for name in names(select(manifest, "a"))] == ["a", "b", "d", "c"]
    assert [name[0] for name in names(select(manifest, "d"))] == ["d", "a", "b", "c"]


def test_permission_is_needed_on_every_step_but_any_way_will_do(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(
        model("a", ("b", "refuse"), ("c", "accept")),
        model("b", ("c", "accept"), ("d", "accept")),
        model("c"),
        model("d"),
    )
    # c is reached through b first, where it is not accepted, and then directly, where it is.
    assert [name[0] for name in names(select(manifest, "a"))] == ["a", "c"]
    assert [attempt.model for attempt in select(manifest, "a").passed_over] == ["b", "d"]


# --- the space that the caller expects ---


def space_of(manifest: Manifest, name: str) -> str:
    built = manifest.models[name].built
    assert built is not None
    return built.space.hex


def test_the_expected_space_is_that_of_the_model(manifest_of: Callable[..., Manifest]) -> None:
    manifest = manifest_of(model("mini", ("other", "accept")), model("other"))
    selection = select(manifest, "mini", expect_space=space_of(manifest, "mini"))
    assert names(selection) == ["mini/torch-fp32"]
    assert [attempt.model for attempt in selection.passed_over] == ["other"]


def test_a_model_of_another_space_than_the_expected_one_is_refused(manifest_of: Callable[..., Manifest]) -> None:
    """The name is the same as ever; what it stands for is not."""
    manifest = manifest_of(model("mini"), model("other"))
    with pytest.raises(SpaceMismatchError, match="and the call expects ffffffffffff"):
        select(manifest, "mini", expect_space="f" * 64)


def test_an_alternate_of_the_expected_space_answers_for_a_model_that_is_not(
    manifest_of: Callable[..., Manifest],
) -> None:
    manifest = manifest_of(model("mini", ("old", "accept")), model("old"))
    selection = select(manifest, "mini", expect_space=space_of(manifest, "old"))
    assert names(selection) == ["old/torch-fp32"]
    # It is what the caller means, so it is no fallback.
    assert selection.candidates[0].same_space
    assert [attempt.model for attempt in selection.passed_over] == ["mini"]


def test_an_alternate_of_the_expected_space_answers_for_a_model_that_is_absent(
    manifest_of: Callable[..., Manifest],
) -> None:
    manifest = manifest_of(ModelPlan(name="gone", variants={}, alternates=(("twin", "refuse"),)), model("twin"))
    assert names(select(manifest, "gone", expect_space=space_of(manifest, "twin"))) == ["twin/torch-fp32"]
    with pytest.raises(SpaceMismatchError):
        select(manifest, "gone", expect_space="0" * 64)


@pytest.mark.parametrize("expected", ["", "abc", "F" * 64, 7, b"0" * 64])
def test_what_is_no_space_to_expect(manifest_of: Callable[..., Manifest], expected: Any) -> None:
    with pytest.raises(InvalidInputError, match="expect_space: expected a space of 64 lower-case hexadecimal digits"):
        select(manifest_of(model("mini")), "mini", expect_space=expected)
