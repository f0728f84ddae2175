"""Reading the specification and the lock: bounded, and never waiting for something that is not a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from thoth_models_builder.errors import LockError, SpecError
from thoth_models_builder.pipeline import inputs
from thoth_models_builder.spec.lockfile import Lock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.hostile
@pytest.mark.parametrize(("read", "kind"), [(inputs.read_spec, SpecError), (inputs.read_lock, LockError)])
def test_a_specification_that_cannot_be_read_is_named_and_a_pipe_is_not_waited_for(
    read: object, kind: type[Exception], tmp_path: Path
) -> None:
    assert callable(read)
    with pytest.raises(kind, match=r"missing(.|\n)*(found: No such file or directory|found no such file)"):
        read(tmp_path / "missing")
    with pytest.raises(kind, match=r"found: Is a directory"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(kind, match="found: not a regular file"):
        read(tmp_path / "pipe")


@pytest.mark.hostile
def test_models_yaml_and_the_lock_are_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_MAX_INPUT_SIZE", 1000)
    file = tmp_path / "models.lock"
    file.write_bytes(bytes(100_000))
    assert len(inputs.read_lock_bytes(file)) == 1001
    with pytest.raises(LockError, match=r"models\.lock"):
        inputs.read_lock(file)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "models.lock"
    file.write_bytes(Lock(models={}).to_bytes())
    assert inputs.read_lock(file) == Lock(models={})
