"""What ``report`` reads, and where it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit, invented_model, make_bundle, make_writable, opened
from tests.support.reported import EXACT, full_bundle, measured_plan, report_on
from thoth_models.bundle.digest import Digest
from thoth_models.errors import BundleNotFoundError
from thoth_models.verification.report_file import report_path
from thoth_models.verification.verify import open_bundle
from thoth_models_builder.cli.terminal import TerminalWatcher
from thoth_models_builder.errors import OutputError, UsageError
from thoth_models_builder.oci.layer_diff import compare_layouts
from thoth_models_builder.pipeline import image
from thoth_models_builder.pipeline.page.write_page import PageOptions, page_of, write_page
from thoth_models_builder.reports.page.models import NOT_READ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models_builder.reports.page.contents import Page
    from thoth_models_builder.reports.results import PageReport


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    make_writable(tmp_path)


def page(place: Path, name: str, against: str | None = None) -> Page:
    return page_of(open_bundle(place / name), None if against is None else open_bundle(place / against), None)


def write(place: Path, output: Path, *, against: Path | None = None, benchmarks: Path | None = None) -> PageReport:
    return write_page(PageOptions(bundle=place / "new", output=output, against=against, benchmarks=benchmarks))


def test_an_intact_bundle_gives_a_page_and_the_facts_about_it(place: Path) -> None:
    manifest = full_bundle(place / "new")
    report = write(place, place / "page.html")
    assert (report.output, report.problems, report.needs_reindex) == (str(place / "page.html"), (), None)
    assert report.bundle_digest == Digest.of(manifest.to_bytes()).hex
    data = (place / "page.html").read_bytes()
    assert len(data) == report.bytes
    assert data.startswith(b'<!DOCTYPE html>\n<html lang="en">')
    assert report.bundle_digest.encode() in data


def test_every_file_is_compared_and_what_differs_is_on_the_page(place: Path) -> None:
    full_bundle(place / "new")
    flip_bit(place / "new", "mini/source/weights.bin")
    report = write(place, place / "page.html")
    assert len(report.problems) == 1
    assert report.problems[0].startswith("mini/source/weights.bin: expected sha256 ")
    text = (place / "page.html").read_text(encoding="utf-8")
    assert "The bundle is not intact." in text
    assert "Every byte verified" not in text


@pytest.mark.hostile
def test_golden_vectors_that_were_changed_are_not_shown(place: Path) -> None:
    """Although they are still golden vectors: only their digest says that a text is another one."""
    full_bundle(place / "new")
    offset = (place / "new/mini/golden.json").read_bytes().index(b"water")
    flip_bit(place / "new", "mini/golden.json", offset=offset)
    found = page(place, "new")
    assert [problem.path for problem in found.verification.problems] == ["mini/golden.json"]
    assert next(model.built.unmeasured for model in found.models if model.built is not None) == NOT_READ


def test_files_that_others_may_write_are_warnings(place: Path) -> None:
    full_bundle(place / "new")
    (place / "new/mini/golden.json").chmod(0o666)
    found = page(place, "new").verification
    assert (found.problems, [warning.path for warning in found.warnings]) == ((), ["mini/golden.json"])


def test_the_report_of_another_bundle_is_ignored_and_its_directory_not_named(place: Path) -> None:
    manifest = make_bundle(place / "new", [measured_plan("mini")])
    report_on(place / "new", manifest, {"onnx-fp32": EXACT}, digest=Digest.of(b"other"))
    found = page(place, "new")
    assert not found.has_report
    assert (found.report_note or "").startswith("new.report.json: ignored: expected the report of the bundle ")


def test_a_bundle_without_a_report_says_so(place: Path) -> None:
    make_bundle(place / "new", [measured_plan("mini")])
    write(place, place / "page.html")
    assert "There is no report beside the bundle" in (place / "page.html").read_text(encoding="utf-8")


def test_what_is_pulled_again_is_what_the_images_say(place: Path) -> None:
    """The layers are not written for the page: the result has to be that of layers that were."""
    full_bundle(place / "old")
    full_bundle(place / "new", more=b"!")
    for name in ("old", "new"):
        image.image(image.ImageOptions(bundle=place / name, to=[f"oci:{place / name}-image"]), TerminalWatcher())
    (written,) = compare_layouts(place / "old-image", place / "new-image")
    found = page(place, "new", "old")
    assert [(layer.name, layer.size, layer.state) for layer in found.layers] == [
        (layer.name, layer.size, layer.state) for layer in written.layers
    ]
    assert found.comparison is not None
    assert (found.comparison.pulled, found.comparison.gone) == (written.pulled, written.gone)
    assert {layer.state for layer in found.layers} == {"kept", "changed"}


def test_the_verdict_is_that_of_diff(place: Path) -> None:
    full_bundle(place / "old")
    full_bundle(place / "new", more=b"!")
    assert write(place, place / "page.html", against=place / "old").needs_reindex is False
    assert "No index has to be made again." in (place / "page.html").read_text(encoding="utf-8")
    full_bundle(place / "other", space="two")
    report = write_page(PageOptions(bundle=place / "other", output=place / "page.html", against=place / "new"))
    assert report.needs_reindex is True
    assert "Index again before this bundle is rolled out." in (place / "page.html").read_text(encoding="utf-8")


def test_a_layer_that_is_gone_is_named(place: Path) -> None:
    make_bundle(place / "old", [invented_model("mini"), invented_model("other")])
    make_bundle(place / "new", [invented_model("mini")])
    found = page(place, "new", "old")
    assert found.comparison is not None
    assert found.comparison.gone == ("other/torch-fp32",)


def test_a_bundle_compared_with_itself_changes_nothing(place: Path) -> None:
    full_bundle(place / "new")
    write(place, place / "page.html", against=place / "new")
    text = (place / "page.html").read_text(encoding="utf-8")
    assert "The two bundles are the same." in text
    assert "<strong>0 bytes</strong>" in text


@pytest.mark.hostile
@pytest.mark.parametrize("output", ["new/page.html", "new/mini/page.html", "old/page.html", "new.report.json"])
def test_no_bundle_and_no_report_is_written_over(place: Path, output: str) -> None:
    full_bundle(place / "new")
    full_bundle(place / "old")
    before = report_path(place / "new").read_bytes()
    with opened(place / "new"), opened(place / "old"), pytest.raises(UsageError, match="expected --output"):
        write(place, place / output, against=place / "old")
    assert report_path(place / "new").read_bytes() == before
    assert page(place, "new").verification.problems == ()


def test_the_benchmarks_are_not_written_over(place: Path) -> None:
    full_bundle(place / "new")
    (place / "results.json").write_bytes(b"{}")
    (place / "page.html").symlink_to("results.json")
    with pytest.raises(UsageError, match=r"expected --output in a file of its own, found .*, which has the benchmarks"):
        write(place, place / "page.html", benchmarks=place / "results.json")
    assert (place / "results.json").read_bytes() == b"{}"


def test_a_page_behind_a_link_takes_the_place_of_the_file(place: Path) -> None:
    full_bundle(place / "new")
    (place / "page.html").symlink_to("kept.html")
    write(place, place / "page.html")
    assert (place / "page.html").is_symlink()
    assert (place / "kept.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_an_output_that_cannot_be_written_is_named(place: Path) -> None:
    full_bundle(place / "new")
    (place / "taken").mkdir()
    for name in ("taken", "nowhere/page.html"):
        with pytest.raises(OutputError, match=f"{name}: cannot be written: "):
            write(place, place / name)


def test_what_is_missing_is_named(place: Path) -> None:
    with pytest.raises(BundleNotFoundError):
        write(place, place / "page.html")
    full_bundle(place / "new")
    with pytest.raises(UsageError, match=r"results\.json: expected a readable file of results, found: No such file"):
        write(place, place / "page.html", benchmarks=place / "results.json")
    (place / "results.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match=r"results\.json: the document: expected results of `nox -s bench`"):
        write(place, place / "page.html", benchmarks=place / "results.json")
    assert not (place / "page.html").exists()
