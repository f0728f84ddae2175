"""The report for a pull request: what it says, and that nothing in it becomes more than text."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle, make_writable
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.layer_diff import STATES, ComparedLayer, LayerDiff
from thoth_models_builder.reports.bundle_diff import MEANINGS, diff
from thoth_models_builder.reports.pull_request import MARKER, MAX_DOCUMENT_SIZE, MAX_REPORT_LENGTH, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundles import ModelPlan

HOSTILE = [
    "@everyone look",
    "#1 fixes #2",
    "[click](https://evil.example)",
    "![pixel](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "</code><h1>Approved</h1>",
    "`` ` ``",
    "a | b |\n|---|\n| c",
    "https://evil.example",
    "-->",
    MARKER,
    "&#64;everyone &lt;b&gt;",
    "\u202etxt.exe",
    "\x1b[2J\x00\r\n",
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    make_writable(tmp_path)


def document(place: Path, before: list[ModelPlan], after: list[ModelPlan], **more: object) -> dict[str, Any]:
    """What `thoth-bundle diff --json` prints of two bundles."""
    report = diff(
        make_bundle(place / "before", before, default=before[0].name),
        make_bundle(place / "after", after, default=after[0].name),
    )
    return json.loads(json.dumps({"ok": True, **dataclasses.asdict(report), **more}))  # type: ignore[no-any-return]


def rendered(value: object) -> str:
    return render(json.dumps(value).encode())


def invented(**changes: object) -> dict[str, Any]:
    model = {
        "name": "mini",
        "verdict": "same space",
        "changes": [{"what": "licence", "before": "mit", "after": "none"}],
        "added": ["mini/a"],
        "removed": [],
        "changed": ["mini/b"],
        "bytes": 1234567,
        **changes,
    }
    return {"ok": True, "changes": [], "models": [model], "names": [], "needs_reindex": False}


LAYERS = dataclasses.asdict(
    LayerDiff(
        platforms=("linux/amd64", "linux/arm64"),
        layers=(
            ComparedLayer(name="mini/onnx-fp32", size=90_000_000, digest="a" * 64, state="changed"),
            ComparedLayer(name="other/onnx-fp32", size=471_000_000, digest="b" * 64, state="kept"),
            ComparedLayer(name="manifest", size=12_288, digest="c" * 64, state="changed"),
        ),
        gone=("old/torch-fp32",),
        bytes=561_012_288,
        pulled=90_012_288,
    )
)


def test_two_equal_bundles_need_nothing(place: Path) -> None:
    text = rendered(document(place, [invented_model("mini")], [invented_model("mini")]))
    assert text.startswith(f"{MARKER}\n")
    assert "No index has to be made again." in text
    assert "Every model is the same as before." in text
    assert "pulls again" not in text


def test_another_space_comes_first_and_names_who_is_hit(place: Path) -> None:
    old, new = invented_model("mini", space="one", aliases=("old-name",)), invented_model("mini", space="two")
    lines = [line for line in rendered(document(place, [old], [new])).splitlines() if line]
    assert "Index again before this is rolled out" in lines[2]
    for name in ("mini", "old-name", "the default"):
        assert f"<code>{name}</code>" in lines[2]


def test_a_changed_model_is_a_row_with_its_files_and_bytes() -> None:
    text = rendered(invented())
    assert f"| <code>mini</code> | same space: {MEANINGS['same space']} | 1 added, 1 changed | 1,234,567 B |" in text
    assert "<code>licence</code> was <code>mit</code> and is <code>none</code>" in text


def test_layers_say_what_is_pulled() -> None:
    text = rendered({**invented(), "layers": [LAYERS]})
    assert "For <code>linux/amd64</code>, <code>linux/arm64</code>: **90,012,288 B** of 561,012,288 B." in text
    assert "| <code>other/onnx-fp32</code> | 471,000,000 B | kept |" in text
    assert "| <code>mini/onnx-fp32</code> | 90,000,000 B | **fetched again** | <code>aaaaaaaaaaaa</code> |" in text
    assert "No longer needed: <code>old/torch-fp32</code>." in text


@pytest.mark.parametrize("which", ["before", "after"])
def test_what_could_not_be_built_is_said(which: str) -> None:
    assert "could not be built" in rendered({"unavailable": which})


def test_the_commit_is_in_the_last_line() -> None:
    text = render(json.dumps(invented()).encode(), commit="f" * 40)
    assert text.rstrip().endswith(f"<sub>Of commit <code>{'f' * 40}</code>.</sub>")


def test_every_state_and_verdict_has_words() -> None:
    for state in STATES:
        assert rendered({**invented(), "layers": [{**LAYERS, "layers": [{**LAYERS["layers"][0], "state": state}]}]})
    for verdict in MEANINGS:
        value = {**invented(verdict=verdict), "needs_reindex": verdict in ("new space", "removed")}
        assert verdict in rendered(value)


# --- what somebody else wrote stays text ---


def outside_of_code(text: str) -> str:
    """All that is not in a code element: what this project wrote itself."""
    return re.sub(r"<code>[A-Za-z0-9 ./,:&#;-]*</code>", "", text)


@pytest.mark.hostile
@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_in_a_comment_is_code_and_nothing_else(text: str) -> None:
    change = {"what": text, "before": text, "after": text}
    layer = {**LAYERS["layers"][0], "name": text, "digest": text}
    hostile = {
        **invented(name=text, changes=[change]),
        "changes": [change],
        "names": [{"name": text, "before": text, "after": text, "verdict": "same space"}],
        "layers": [{**LAYERS, "layers": [layer], "gone": [text], "platforms": [text]}],
    }
    harmless = {**invented(name="x", changes=[{"what": "x", "before": "x", "after": "x"}])}
    harmless["changes"] = harmless["models"][0]["changes"]
    harmless["names"] = [{"name": "x", "before": "x", "after": "x", "verdict": "same space"}]
    harmless["layers"] = [
        {**LAYERS, "layers": [{**LAYERS["layers"][0], "name": "x", "digest": "x"}], "gone": ["x"], "platforms": ["x"]}
    ]
    found = rendered(hostile)
    # But for what is in the code elements, the two are the same: nothing got out.
    assert outside_of_code(found) == outside_of_code(rendered(harmless))
    assert found.count(MARKER) == 1
    shown = html.unescape(found)
    printable = "".join(character if character.isprintable() else "\ufffd" for character in text)
    assert f"<code>{printable}</code>" in shown


def test_the_helper_above_would_see_what_gets_out() -> None:
    assert outside_of_code("<code>a</code>") == ""
    assert "evil" in outside_of_code("<code>a</code></code><h1>evil</h1>")
    assert "@" in outside_of_code("<code>@someone</code>")


@pytest.mark.hostile
def test_long_texts_and_many_rows_are_cut() -> None:
    value = invented()
    value["models"] = [{**value["models"][0], "name": f"m{index}{'x' * 5000}"} for index in range(60)]
    value["layers"] = [{**LAYERS, "layers": LAYERS["layers"] * 500}]
    text = rendered(value)
    assert len(text) <= MAX_REPORT_LENGTH
    assert "x" * 121 not in text
    assert "| 1,440 more | | | |" in text


def test_a_report_that_would_not_fit_says_so() -> None:
    change = {"what": "@" * 120, "before": "@" * 120, "after": "@" * 120}
    value = invented(changes=[change] * 60)
    value["changes"] = [change] * 60
    text = rendered(value)
    assert len(text) <= MAX_REPORT_LENGTH
    assert "More would not fit" in text
    assert "No index has to be made again." in text


# --- a document that is none ---

BROKEN: list[tuple[str, Any]] = [
    ("the document: expected an object, found a list", []),
    ("the document: expected the key 'ok'", {}),
    ("expected true, found false", {"ok": False, "error": "ManifestError"}),
    ("ok: expected a boolean, found a string", {"ok": "yes"}),
    ('unavailable: expected "before" or "after"', {"unavailable": "<b>"}),
    ("models: expected a list", {**invented(), "models": {}}),
    (r"models\[0\].verdict: expected \"same vectors\" or", invented(verdict="fine")),
    (r"models\[0\].bytes: expected an integer", invented(bytes="1")),
    (r"models\[0\].bytes: expected an integer", invented(bytes=True)),
    (r"models\[0\].bytes: expected an integer", invented(bytes=-1)),
    (r"models\[0\].name: expected a string", invented(name=7)),
    (r"models\[0\].added: expected at most", invented(added=[""] * 10_001)),
    ("needs_reindex: expected what the verdicts say", {**invented(), "needs_reindex": True}),
    ("needs_reindex: expected what the verdicts say", invented(verdict="new space")),
    (r"layers\[0\].layers\[0\].state", {**invented(), "layers": [{**LAYERS, "layers": [{"state": "x"}]}]}),
]


@pytest.mark.hostile
@pytest.mark.parametrize(("message", "value"), BROKEN)
def test_a_document_of_another_form_makes_no_comment(message: str, value: object) -> None:
    with pytest.raises(UsageError, match=message):
        rendered(value)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"ok": 1.5}', b'{"ok": NaN}', b'{"bytes": ' + b"9" * 100_000 + b"}"],
)
def test_a_document_that_is_no_json_of_ours_makes_no_comment(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"the document: expected (JSON|integers)"):
        render(data)


@pytest.mark.hostile
def test_a_large_document_is_not_parsed() -> None:
    with pytest.raises(UsageError, match="at most"):
        render(b" " * (MAX_DOCUMENT_SIZE + 1))
