"""Errors that reach another process, or another thread, as they are."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

from thoth_models import ModelUnavailableError, ThothModelsError, VerificationError, errors
from thoth_models.errors import Attempt, Problem

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

ATTEMPTS = [Attempt(model="mini", variant="onnx-fp32", reason="a reason", error="BackendError")]
PROBLEMS = [Problem(kind="changed", path="mini/model.onnx", expected="one thing", found="another")]


def all_below(cls: type[ThothModelsError]) -> Iterator[type[ThothModelsError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from all_below(below)


@pytest.mark.parametrize("cls", sorted(set(all_below(ThothModelsError)), key=repr))
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301
def test_an_error_can_be_made_again(cls: type[ThothModelsError], again: Callable[[object], ThothModelsError]) -> None:
    special: dict[type[ThothModelsError], tuple[object, ...]] = {
        ModelUnavailableError: ("mini", ATTEMPTS),
        VerificationError: ("/models", PROBLEMS),
        errors.LoadTimeout: ("too late", "the stacks"),
    }
    error = cls(*special.get(cls, ("what was expected, and found",)))
    error.add_note("a note")
    found = again(error)
    assert (type(found), str(found), found.args) == (cls, str(error), error.args)
    assert vars(found) == vars(error)
    assert "a note" in "".join(traceback.format_exception(found))


_POOL = """
import multiprocessing, sys
from thoth_models import EmbeddingManager, ManagerConfig, ModelUnavailableError, VerificationError, verify

def work(what):
    if what == "verify":
        verify(sys.argv[1])
    EmbeddingManager.get_instance(ManagerConfig(root=sys.argv[1])).encode("water", "mini")

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[2]).Pool(1) as pool:
        for what, wanted in (("encode", ModelUnavailableError), ("verify", VerificationError)):
            try:
                pool.map_async(work, [what]).get(60)
            except wanted as error:
                print(type(error).__name__, error.attempts[0].model if what == "encode" else error.problems[0].kind)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_error_of_a_worker_reaches_whoever_waits_for_it(
    run_python: Callable[..., subprocess.CompletedProcess[str]], bundle: Path, tmp_path: Path, method: str
) -> None:
    """A pool of multiprocessing whose worker's error cannot be made again waits for its result for ever."""
    for path in bundle.glob("mini/*/*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"changed")
    script = tmp_path / "script.py"
    script.write_text(_POOL, encoding="utf-8")
    done = run_python(str(script), str(bundle), method)
    assert done.stdout.split("\n")[:-1] == ["ModelUnavailableError mini", "VerificationError changed"], done.stderr


@pytest.mark.hostile
def test_a_message_lists_some_of_many_differences_and_the_error_has_all() -> None:
    paths = [f"file-{number}" for number in range(10**5)]
    problems = [Problem(kind="extra", path=path, expected="nothing", found="a file") for path in paths]
    error = VerificationError("/models", problems)
    first, *lines = str(error).splitlines()
    assert len(error.problems) == 10**5
    assert first == "/models: verification failed, 100000 problems"
    assert [line.split(":")[0].strip() for line in lines] == [*paths[:50], "and 99950 more"]
    assert "more" not in str(VerificationError("/models", problems[:50]))
