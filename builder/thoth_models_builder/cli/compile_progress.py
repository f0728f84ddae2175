"""Progress of compiling models: live rows on a terminal, otherwise a line for each finished step."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.progress import TaskID

    from thoth_models_builder.watcher import CompileProgress


@contextlib.contextmanager
def compile_progress(console: Console) -> Iterator[CompileProgress]:
    """Show the progress of compiling on ``console`` until the context ends."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _Rows(progress)


class _Lines:
    """A line for each model that starts, and for each step that ends: its duration, what runs, and what is left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._left: dict[str, list[str]] = {}
        self._running: dict[str, dict[str, float]] = {}

    def begin(self, model: str, steps: Sequence[str]) -> None:
        self._left[model], self._running[model] = list(steps), {}
        self._console.print(escape(f"{model}: {len(steps)} steps: {', '.join(steps)}"))

    def begin_step(self, model: str, step: str) -> None:
        self._left[model].remove(step)
        self._running[model][step] = time.monotonic()

    def end_step(self, model: str, step: str, seconds: float) -> None:
        self._running[model].pop(step)
        now = time.monotonic()
        running = [f"{name} for {now - begun:.1f} s" for name, begun in self._running[model].items()]
        parts = [f"{step} took {seconds:.1f} s"]
        parts += [f"at work: {', '.join(running)}"] if running else []
        parts += [f"left: {', '.join(self._left[model])}"] if self._left[model] else []
        self._console.print(escape(f"{model}: {'; '.join(parts)}"))

    def end(self, model: str) -> None:
        self._left.pop(model, None)
        self._running.pop(model, None)


class _Rows:
    """A row for each model with the remaining steps, and one for each running step with its duration."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._models: dict[str, TaskID] = {}
        self._left: dict[str, list[str]] = {}
        self._steps: dict[tuple[str, str], TaskID] = {}

    def begin(self, model: str, steps: Sequence[str]) -> None:
        self._left[model] = list(steps)
        self._models[model] = self._progress.add_task(escape(model), total=len(steps), left="")

    def begin_step(self, model: str, step: str) -> None:
        self._left[model].remove(step)
        left = ", ".join(self._left[model])
        self._progress.update(self._models[model], left=escape(f"left: {left}" if left else ""))
        self._steps[model, step] = self._progress.add_task(escape(f"  {step}"), total=None, left="")

    def end_step(self, model: str, step: str, seconds: float) -> None:  # noqa: ARG002 - the row has shown it
        self._progress.remove_task(self._steps.pop((model, step)))
        self._progress.advance(self._models[model])

    def end(self, model: str) -> None:
        for key in [key for key in self._steps if key[0] == model]:
            self._progress.remove_task(self._steps.pop(key))
        if model in self._models:
            self._progress.remove_task(self._models.pop(model))
