from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.projects import Project, model_files, write_files
from thoth_models_builder.cli import terminal as progress
from thoth_models_builder.errors import SourceAttempt
from thoth_models_builder.reports.results import (
    BuildReport,
    BuiltFileReport,
    BuiltModelReport,
    CheckReport,
    CollectionReport,
    LockedModelReport,
    LockReport,
)
from thoth_models_builder.spec.variants import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "multilingual-mini from hub:sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2@" + "a" * 40
ATTEMPT = SourceAttempt(
    model="mini", source="hub:org/mini@main", path="config.json", reason="expected [200], found 404"
)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)  # type: ignore[attr-defined]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich take the captured streams for a terminal of 80 columns."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


# --- transfers ---


def test_a_transfer_is_plain_lines_where_there_is_no_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.TerminalWatcher().transfer(LABEL, 100_000_000) as advance:
        clock.now += 1
        advance(10_000_000)
        clock.now += 4
        advance(10_000_000)
        clock.now += 1
        advance(10_000_000)
        clock.now += 5
        advance(70_000_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{LABEL}: 0.0 of 100.0 MB",
        f"{LABEL}: 20.0 of 100.0 MB, 4.0 MB/s, 20 s left",
        f"{LABEL}: 100.0 of 100.0 MB, 9.1 MB/s",
        f"{LABEL}: 100.0 of 100.0 MB, 9.1 MB/s",
    ]


def test_a_transfer_of_unknown_size_never_has_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.TerminalWatcher().transfer("[bold]label[/bold] :dog:", 0) as advance:
        clock.now += 2
        advance(2_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "[bold]label[/bold] :dog:: 0.0 of 0.0 MB",
        "[bold]label[/bold] :dog:: 2.0 of 0.0 MB, 1.0 MB/s",
    ]


@pytest.mark.usefixtures("terminal")
def test_a_transfer_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.TerminalWatcher().transfer(LABEL, 100_000_000) as advance:
        advance(50_000_000)
        advance(50_000_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b[" in captured.err
    lines = [line for line in re.split(r"[\r\n]", without_escapes(captured.err)) if line.strip()]
    assert lines
    # Rate and time left have their place on the one line, however long the label is.
    assert all(
        re.match(r"multilingual-mini from \S*… ━+ [0-9.]+/100\.0 MB .*(-:--:--|0:00:00)\s*$", line) for line in lines
    )
    assert all(len(line) <= 80 for line in lines)
    assert captured.err.endswith("\x1b[2K")  # nothing of it stays


@pytest.mark.usefixtures("terminal")
def test_a_bar_goes_away_with_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with progress.TerminalWatcher().transfer("[red]label[/red]", 10):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert "[red]label[/red]" in without_escapes(capsys.readouterr().err)


def test_a_note_is_a_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress.TerminalWatcher().note("a [red]note[/red], :dog: " + "long " * 60)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a [red]note[/red], :dog: " + "long " * 60 + "\n"


def test_a_build_draws_while_it_works(
    capsys: pytest.CaptureFixture[str], project: Project, request: pytest.FixtureRequest
) -> None:
    write_files(project.root / "model", model_files("mini", size=2_000_000))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    project.lock(watcher=progress.TerminalWatcher())
    assert "mini from directory:model: 0.0 of 2.0 MB\n" in capsys.readouterr().err
    request.getfixturevalue("terminal")
    project.lock(watcher=progress.TerminalWatcher())
    assert "━" in capsys.readouterr().err


# --- the log ---


@pytest.mark.parametrize("verbose", [False, True])
def test_the_log_of_this_package_is_shown_on_standard_error(
    *, verbose: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    progress.configure_logging(verbose=verbose)
    progress.configure_logging(verbose=verbose)  # a second command in one process does not double it
    logger = logging.getLogger("thoth_models_builder.sources.http")
    logger.warning("a [red]warning[/red]")
    logger.info("an attempt")
    logging.getLogger("httpx2").warning("a URL with a signature")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("a [red]warning[/red]") == 1
    assert ("an attempt" in captured.err) is verbose
    assert "signature" not in captured.err
    # Nor do the handlers of whoever calls main() in a process of their own show it a second time.
    assert [record.name for record in caplog.records] == ["httpx2"]


# --- reports ---


def built_model(**changes: Any) -> BuiltModelReport:
    facts: dict[str, Any] = {
        "name": "mini",
        "is_absent": False,
        "stand_ins": (),
        "license": "apache-2.0",
        "dimension": 384,
        "space": "5" * 64,
        "variants": ("torch-fp32",),
        "files": (
            BuiltFileReport(path="config.json", size=612, sha256="c" * 64, source="store"),
            BuiltFileReport(path="model.safetensors", size=90_868_376, sha256="d" * 64, source="hub:org/mini@main"),
        ),
    }
    return BuiltModelReport(**{**facts, **changes})


def build_report(**changes: Any) -> BuildReport:
    facts: dict[str, Any] = {
        "report": None,
        "output": "/some/[bundle]",
        "is_unchanged": False,
        "bundle_digest": "a" * 64,
        "set_digest": "b" * 64,
        "models": (built_model(),),
        "attempts": (),
        "own_seconds": 1.234,
        "source_seconds": 5.678,
        "compile_seconds": 0.0,
    }
    return BuildReport(**{**facts, **changes})


def test_a_build_is_a_table_of_files_with_their_whole_digests(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_build(build_report())
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = [line.rstrip() for line in captured.out.splitlines()]
    assert lines[0] == "mini: torch-fp32, 384 dimensions, licence apache-2.0"
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert ["file", "bytes", "sha256", "from"] in rows
    assert ["config.json", "612", "c" * 64, "store"] in rows
    assert ["model.safetensors", "90,868,376", "d" * 64, "hub:org/mini@main"] in rows
    assert ["2 files", "90,868,988"] in rows
    assert lines[-5:] == [
        f"space {'5' * 64}",
        "/some/[bundle]: built and verified",
        f"bundle digest {'a' * 64}",
        f"set digest    {'b' * 64}",
        "1.23 s of its own, 5.68 s waiting for sources, 0.00 s compiling",
    ]


def test_a_build_says_what_was_measured_or_which_gate_was_passed(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"minimum_cosine": 0.99482, "mean_cosine": 0.99847, "neighbour_agreement": 0.98}
    gates = {name: {"required_cosine": 0.95, "required_agreement": 0.8} for name in ("onnx-int8", "torch-fp32")}
    model = built_model(gates=gates, accuracy={"onnx-int8": figures})
    progress.show_build(build_report(models=(model,), report="/some/[bundle].report.json"))
    out = " ".join(capsys.readouterr().out.split())
    cosines = "onnx-int8: cosine to sentence-transformers at least 0.99482, 0.99847 on average; "
    assert f"{cosines}0.980 of the ten nearest texts are the same" in out
    assert "torch-fp32: passed the gate of a cosine of 0.95000; not measured here" in out
    assert "measured figures: /some/[bundle].report.json" in out


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_digests_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_build(build_report())
    out = without_escapes(capsys.readouterr().out)
    assert "c" * 12 in out
    assert "c" * 13 not in out
    assert f"bundle digest {'a' * 64}" in out


def test_a_build_tells_who_is_absent_and_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    absent = built_model(name="large", is_absent=True, stand_ins=("mini", "other"), space=None, files=())
    progress.show_build(
        build_report(
            is_unchanged=True,
            models=(absent, built_model(license=None)),
            attempts=(ATTEMPT,),
            notes=("a [note]",),
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert "mini: torch-fp32, 384 dimensions, licence not stated" in [line.rstrip() for line in lines]
    assert "failed: mini from hub:org/mini@main, config.json: expected [200], found 404" in lines
    assert "note: a [note]" in lines
    assert (
        "large is absent: none of its sources delivered. mini, else other stands in for it at run time; "
        "its vectors belong to another embedding space."
    ) in lines
    assert "/some/[bundle]: nothing to do, the bundle is up to date" in lines


def test_a_lock_tells_what_became_of_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    refused = (Refusal(path="[x].bin", reason="pickled"),)
    size: dict[str, Any] = {"files": 10, "bytes": 91_000_000}
    models = (
        LockedModelReport(name="a", state="resolved", source="hub:org/a@main", refused=refused, **size),
        LockedModelReport(name="b", state="unchanged", source="directory:[b]", **size),
        LockedModelReport(name="c", state="kept", attempts=(ATTEMPT,), **size),
        LockedModelReport(name="d", state="missing", attempts=(ATTEMPT,)),
        LockedModelReport(name="e", state="removed"),
    )
    progress.show_lock(LockReport(file="models.lock", is_rewritten=True, models=models, differences=("d: expected",)))
    assert capsys.readouterr().out.splitlines() == [
        "a: resolved from hub:org/a@main, 10 files, 91,000,000 bytes",
        "  left out: [x].bin (pickled)",
        "b: unchanged from directory:[b], 10 files, 91,000,000 bytes",
        "c: its origin did not deliver it, the existing entry is kept (10 files, 91,000,000 bytes)",
        f"  failed: {ATTEMPT}",
        "d: no source delivered it, and there is no entry to keep",
        f"  failed: {ATTEMPT}",
        "e: removed, because the specification has no such model any more",
        "models.lock: written",
        "d: expected",
    ]
    progress.show_lock(LockReport(file="models.lock", is_rewritten=False, models=(), differences=()))
    assert capsys.readouterr().out == "models.lock: unchanged\n"
    progress.show_lock(LockReport(file="models.lock", is_rewritten=False, models=models[3:4], differences=()))
    assert capsys.readouterr().out.splitlines()[-1] == "models.lock: not written, because nothing was resolved"


def test_a_verification(capsys: pytest.CaptureFixture[str]) -> None:
    report = CheckReport(
        output="/b",
        bundle_digest="a" * 64,
        set_digest="b" * 64,
        release=7,
        files=12,
        bytes=34_567,
        warnings=("[w]",),
        signed_by=None,
        seconds=0.5,
    )
    progress.show_check(report)
    assert capsys.readouterr().out.splitlines() == [
        "warning: [w]",
        "/b: 12 files, 34,567 bytes verified in 0.50 s",
        f"bundle digest {'a' * 64}",
        f"set digest    {'b' * 64}",
        "release       7",
    ]
    progress.show_check(dataclasses.replace(report, signed_by="the certificate of CN=[acme]"))
    assert capsys.readouterr().out.splitlines()[-1] == "signed by     the certificate of CN=[acme]"


def test_an_inspection_is_the_manifest_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    manifest = {"prompts": {"query": "[bold]:dog: " + "x" * 300 + "\t\n[/bold]"}}
    progress.show_inspection({"root": "/b", "bundle_digest": "a", "set_digest": "b", "manifest": manifest})
    lines = capsys.readouterr().out.split("\n")
    assert lines[:3] == ["root          /b", "bundle_digest a", "set_digest    b"]
    assert json.loads("\n".join(lines[3:])) == manifest


@pytest.mark.parametrize(("is_dry_run", "verb"), [(True, "would remove"), (False, "removed")])
def test_a_collection(*, is_dry_run: bool, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_collection(CollectionReport(store="/s", files=2, bytes=3000, is_dry_run=is_dry_run))
    assert capsys.readouterr().out == f"/s: {verb} 2 files, 3,000 bytes\n"


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[bold] :dog: " + "long " * 100 + "\n  second line, without an end"
    progress.show_text(text)
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(("hint", "more"), [(None, ""), ("run [x]", "hint: run [x]\n")])
def test_an_error_and_what_to_do(hint: str | None, more: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_error("expected [a], found [b] " + "long " * 60, hint)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "thoth-bundle: expected [a], found [b] " + "long " * 60 + "\n" + more


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("show", [lambda: progress.show_text("x"), lambda: progress.show_build(build_report())])
def test_a_reader_that_went_away_is_left_to_the_caller(
    show: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    with pytest.raises(BrokenPipeError):
        show()
