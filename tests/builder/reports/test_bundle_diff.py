"""What the comparison of two bundles says, and above all its verdict on each model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import (
    ModelPlan,
    golden_of,
    invented_model,
    make_bundle,
    make_writable,
    measure,
    proved,
)
from thoth_models.bundle.digest import Digest
from thoth_models_builder.cli.main import main
from thoth_models_builder.reports.bundle_diff import BundleDiff, Change, ModelDiff, diff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    yield tmp_path / "before", tmp_path / "after"
    make_writable(tmp_path)


def compared(
    places: tuple[Path, Path], before: Sequence[ModelPlan], after: Sequence[ModelPlan], *, default: str = "mini"
) -> BundleDiff:
    return diff(make_bundle(places[0], before, default="mini"), make_bundle(places[1], after, default=default))


def only(report: BundleDiff) -> ModelDiff:
    (model,) = report.models
    return model


def two_variants(order: Sequence[str] = ("onnx-fp32", "torch-fp32"), **options: Any) -> ModelPlan:
    return invented_model("mini", variants=order, **options)


def test_a_bundle_is_the_same_as_itself(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants()], [two_variants()])
    assert not report.needs_reindex
    assert report.changes == ()
    assert report.names == ()
    model = only(report)
    assert (model.verdict, model.changes, model.added, model.removed, model.changed, model.bytes) == (
        "same vectors", (), (), (), (), 0,
    )  # fmt: skip


def test_another_space_is_a_new_index(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants(space="one")], [two_variants(space="two")])
    assert report.needs_reindex
    assert only(report).verdict == "new space"
    assert [change.what for change in only(report).changes] == ["space"]


def test_files_that_change_are_named_and_counted(places: tuple[Path, Path]) -> None:
    old = invented_model("mini", more={"gone.txt": b"gone", "changed.txt": b"before"})
    new = invented_model("mini", more={"new.txt": b"12345", "changed.txt": b"after!!"})
    model = only(compared(places, [old], [new]))
    assert model.added == ("mini/source/new.txt",)
    assert model.removed == ("mini/source/gone.txt",)
    assert model.changed == ("mini/source/changed.txt",)
    assert model.bytes == 5 + 7
    # The space is the same, but other files are read.
    assert model.verdict == "same space"


def test_another_gate_is_a_change(places: tuple[Path, Path]) -> None:
    golden = golden_of(["one"])
    plans = [proved(invented_model("mini"), golden, required_cosine=cosine) for cosine in (0.9, 0.95)]
    report = compared(places, plans[:1], plans[1:])
    assert only(report).changes == (
        Change(what="gates", before="torch-fp32 cosine 0.90000", after="torch-fp32 cosine 0.95000"),
    )
    assert only(report).verdict == "same vectors"


def test_what_was_measured_is_compared_where_it_is_known_of_both(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = [make_bundle(place, [invented_model("mini")], default="mini") for place in places]

    def changes() -> list[dict[str, str]]:
        assert main(["diff", "--json", *map(str, places)]) == 0
        found: list[dict[str, str]] = json.loads(capsys.readouterr().out)["models"][0]["changes"]
        return found

    measure(places[0], manifests[0], minimum_cosine=0.99)
    assert changes() == []
    # Digits in which two processors differ do not count.
    measure(places[1], manifests[1], minimum_cosine=0.98999)
    assert changes() == []
    measure(places[1], manifests[1], minimum_cosine=0.95)
    assert changes() == [
        {
            "what": "accuracy of torch-fp32",
            "before": "cosine at least 0.9900, neighbours 1.00 the same",
            "after": "cosine at least 0.9500, neighbours 1.00 the same",
        }
    ]
    measure(places[1], manifests[1], bundle_digest=Digest.of(b"other"))
    assert changes() == []


def test_another_order_of_variants_is_the_same_space_from_other_files(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants()], [two_variants(("torch-fp32", "onnx-fp32"))])
    assert only(report).verdict == "same space"
    assert only(report).changes == (
        Change(what="variants", before="onnx-fp32, torch-fp32", after="torch-fp32, onnx-fp32"),
    )
    assert not report.needs_reindex


def test_a_variant_that_is_added_behind_the_first_changes_no_vector(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants(("onnx-fp32",))], [two_variants()])
    assert only(report).verdict == "same vectors"


def test_unit_length_is_part_of_what_callers_get(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants(space="s")], [two_variants(space="s", normalize=False)])
    assert only(report).verdict == "same space"
    assert Change(what="unit length", before="True", after="False") in only(report).changes


def test_licence_dimension_and_length_are_told(places: tuple[Path, Path]) -> None:
    new = replace(two_variants(dimension=16), license=None, max_seq_length=99)
    changes = only(compared(places, [two_variants()], [new])).changes
    assert Change(what="dimension", before="8", after="16") in changes
    assert Change(what="licence", before="apache-2.0", after="none") in changes
    assert Change(what="maximum length", before="16", after="99") in changes


@pytest.mark.parametrize(
    ("before", "after", "verdict", "needs_reindex"),
    [
        ("built", "absent", "removed", True),
        ("absent", "built", "added", False),
        ("absent", "absent", "absent", False),
        ("unlisted", "built", "added", False),
        ("built", "unlisted", "removed", True),
    ],
)
def test_models_that_come_and_go(
    places: tuple[Path, Path], before: str, after: str, verdict: str, *, needs_reindex: bool
) -> None:
    def plans(state: str) -> list[ModelPlan]:
        other = ModelPlan(name="other", variants={}) if state == "absent" else invented_model("other")
        return [two_variants()] + ([] if state == "unlisted" else [other])

    report = compared(places, plans(before), plans(after))
    assert {model.name: model.verdict for model in report.models} == {"mini": "same vectors", "other": verdict}
    assert report.needs_reindex is needs_reindex


def test_an_alias_that_moves_to_another_space_is_a_new_index(places: tuple[Path, Path]) -> None:
    """The models are all the same; only what a caller gets for a name is another one."""
    others = [invented_model("other"), invented_model("third")]
    moved = [invented_model("other", aliases=("legacy",)), others[1]]
    report = compared(places, [two_variants(aliases=("legacy",)), *others], [two_variants(), *moved])
    assert [model.verdict for model in report.models] == ["same vectors"] * 3
    (name,) = report.names
    assert (name.name, name.before, name.after, name.verdict) == (
        "legacy",
        "mini/onnx-fp32",
        "other/torch-fp32",
        "new space",
    )
    assert report.needs_reindex


def test_an_alias_that_is_gone_or_new(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants(aliases=("old",))], [two_variants(aliases=("new",))])
    assert {name.name: name.verdict for name in report.names} == {"old": "removed", "new": "added"}
    assert report.needs_reindex


def test_another_default_is_told(places: tuple[Path, Path]) -> None:
    models = [two_variants(), invented_model("other")]
    report = compared(places, models, models, default="other")
    assert report.changes == (Change(what="default model", before="mini", after="other"),)
    assert [(name.name, name.after, name.verdict) for name in report.names] == [(None, "other/torch-fp32", "new space")]
    assert report.needs_reindex


def test_another_release_is_told(tmp_path: Path) -> None:
    manifests = [make_bundle(tmp_path / str(release), [two_variants()], release=release) for release in (None, 7, 8)]
    for before, after, said in ((0, 1, ("none", "7")), (1, 2, ("7", "8")), (2, 1, ("8", "7"))):
        report = diff(manifests[before], manifests[after])
        assert report.changes == (Change(what="release", before=said[0], after=said[1]),)
        assert not report.needs_reindex


def test_an_alias_that_becomes_a_model_of_its_own(places: tuple[Path, Path]) -> None:
    report = compared(places, [two_variants(aliases=("x",))], [two_variants(), invented_model("x")])
    assert {model.name: model.verdict for model in report.models} == {"mini": "same vectors", "x": "new space"}
    assert report.needs_reindex


def test_a_model_that_is_renamed_and_keeps_its_old_name_answers_as_before(places: tuple[Path, Path]) -> None:
    before = [two_variants(), invented_model("old", space="s")]
    files = before[1].variants
    after = [two_variants(), replace(invented_model("new", space="s", aliases=("old",)), variants=files)]
    report = compared(places, before, after)
    assert {model.name: model.verdict for model in report.models} == {
        "mini": "same vectors",
        "new": "added",
        "old": "same vectors",
    }
    assert not report.needs_reindex


def test_a_model_that_comes_back_ends_what_its_stand_in_said(places: tuple[Path, Path]) -> None:
    gone = ModelPlan(name="big", variants={}, alternates=(("mini", "accept"),))
    back = invented_model("big", alternates=(("mini", "accept"),))
    report = compared(places, [two_variants(), gone], [two_variants(), back])
    assert {model.name: model.verdict for model in report.models} == {"big": "new space", "mini": "same vectors"}
    assert report.needs_reindex
    # … and the other way round.
    assert diff(
        make_bundle(places[0].parent / "c", [two_variants(), back], default="mini"),
        make_bundle(places[0].parent / "d", [two_variants(), gone], default="mini"),
    ).needs_reindex


def test_another_stand_in_for_an_absent_model(places: tuple[Path, Path]) -> None:
    def absent(alternate: str) -> ModelPlan:
        return ModelPlan(name="gone", variants={}, alternates=((alternate, "accept"),))

    others = [two_variants(), invented_model("other")]
    report = compared(places, [*others, absent("mini")], [*others, absent("other")])
    assert {model.name: model.verdict for model in report.models}["gone"] == "new space"


# --- the command ---


@pytest.fixture
def reindexed(places: tuple[Path, Path]) -> tuple[Manifest, Manifest]:
    """Two bundles whose one model has another space."""
    old, new = two_variants(space="one"), two_variants(space="two", more={"[bold]": b"x"})
    return make_bundle(places[0], [old], default="mini"), make_bundle(places[1], [new], default="mini")


@pytest.mark.usefixtures("reindexed")
def test_the_command_gives_a_plain_verdict(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *map(str, places)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "mini: new space: other vectors: everything that was indexed with the old ones must be indexed again" in lines
    )
    assert "  + mini/onnx-fp32/[bold]" in lines
    assert "  2 bytes are new" in lines
    assert lines[-1] == "index again: yes"


@pytest.mark.usefixtures("reindexed")
def test_a_check_fails_where_an_index_must_be_made_again(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, places)
    assert main(["diff", "--check", before, after]) == 1
    assert main(["diff", "--check", "--json", before, after]) == 1
    document = json.loads(capsys.readouterr().out.partition("index again: yes\n")[2])
    assert document["ok"] is False
    assert document["models"][0]["verdict"] == "new space"
    assert main(["diff", "--check", before, before]) == 0


def test_a_bundle_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) != 0
    assert "expected a bundle directory" in capsys.readouterr().err
