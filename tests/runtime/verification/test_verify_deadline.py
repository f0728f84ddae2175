"""Verification ends at its deadline, whatever it waits for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from thoth_models import LoadTimeout, verify
from thoth_models.cli import list_models
from thoth_models.cli.main import main
from thoth_models.errors import InvalidInputError
from thoth_models.verification import verify as verifying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Storage from which no manifest is ever read."""
    answered = threading.Event()

    def wait(*_arguments: object) -> bytes:
        answered.wait(60)
        raise FileNotFoundError

    monkeypatch.setattr(verifying, "_read_index", wait)
    yield
    answered.set()


@pytest.mark.hostile
@pytest.mark.usefixtures("silent")
def test_storage_that_never_answers(bundle: Path) -> None:
    with pytest.raises(
        LoadTimeout, match=f"verifying {bundle} did not finish within 0.2 s; it was comparing"
    ) as caught:
        verify(bundle, timeout=0.2)
    assert "_read_index" in caught.value.stacks


def builder(arguments: list[str]) -> int:
    """Run ``thoth-bundle``, where it is installed."""
    code: int = pytest.importorskip("thoth_models_builder.cli.main").main(arguments)
    return code


@pytest.mark.hostile
@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    "command",
    [
        lambda root: main(["verify", "--timeout", "0.2", "--root", root]),
        lambda root: main(["doctor", "--verify-timeout", "0.2", "--root", root]),
        lambda root: main(["doctor", "--quick", "--timeout", "0.2", "--root", root]),
        lambda root: main(["list", "--root", root]),
        lambda root: builder(["verify", "--timeout", "0.2", root]),
    ],
)
def test_every_command_that_verifies_says_what_it_waited_for(
    bundle: Path, command: Callable[[str], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_models, "_SECONDS", 0.2)
    assert command(str(bundle)) in (1, 4)
    said = capsys.readouterr().err
    assert "did not finish within 0.2 s; it was" in said
    assert "hint: the stacks above show what waits" in said


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "60"])
def test_a_deadline_that_is_none(bundle: Path, timeout: object) -> None:
    with pytest.raises(InvalidInputError, match="timeout: expected a positive, finite number"):
        verify(bundle, timeout=timeout)  # type: ignore[arg-type]
