"""Progress of compiling: which step runs, for how long, and what is left."""

from __future__ import annotations

import io

from rich.console import Console

from thoth_models_builder.cli.compile_progress import compile_progress


def shown(*, terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=200, soft_wrap=not terminal, emoji=False)
    with compile_progress(console) as progress:
        progress.begin("mini", ["golden vectors", "export", "record"])
        progress.begin("other[x]", ["export"])
        progress.begin_step("mini", "golden vectors")
        progress.begin_step("mini", "export")
        progress.begin_step("other[x]", "export")
        if terminal:
            progress._progress.refresh()  # type: ignore[attr-defined]
        progress.end_step("mini", "golden vectors", 2.34)
        progress.end_step("other[x]", "export", 1.0)
        progress.end("other[x]")
        progress.end_step("mini", "export", 3.0)
        progress.begin_step("mini", "record")
        progress.end("mini")
    return output.getvalue()


def test_elsewhere_each_step_that_ends_is_a_line() -> None:
    lines = shown(terminal=False).splitlines()
    assert lines[:2] == ["mini: 3 steps: golden vectors, export, record", "other[x]: 1 steps: export"]
    assert lines[2].startswith("mini: golden vectors took 2.3 s; at work: export for 0.")
    assert lines[2].endswith(" s; left: record")
    assert lines[3:] == ["other[x]: export took 1.0 s", "mini: export took 3.0 s; left: record"]


def test_a_terminal_has_a_row_for_each_model_and_for_each_step_that_runs() -> None:
    output = shown(terminal=True)
    for text in ("mini", "other[x]", "  golden vectors", "  export", "0:00:00", "left: record"):
        assert text in output


def test_what_fails_before_its_first_step_is_no_trouble() -> None:
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        with compile_progress(console) as progress:
            progress.end("mini")
