"""What reports progress does so through the protocol, whatever draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.projects import Recorder
from thoth_models_builder.cli.terminal import TerminalWatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models_builder.watcher import Watcher


@pytest.mark.parametrize("make", [TerminalWatcher, Recorder])
def test_a_watcher_takes_notes_and_bytes(make: Callable[[], Watcher]) -> None:
    watcher = make()
    watcher.note("compiling")
    with watcher.transfer("mini from hub:org/mini", 10) as advance:
        advance(10)
        advance(-10)
