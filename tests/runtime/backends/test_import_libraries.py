"""What is imported while files are compared, so that loading need not wait for it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from thoth_models.backends import BACKENDS, import_libraries

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

_IMPORTED = """
import json, sys
from thoth_models.backends import import_libraries
before = set(sys.modules)
import_libraries(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("name", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in BACKENDS])
def test_the_modules_are_there_afterwards(
    run_python: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    done = run_python("-c", _IMPORTED, name)
    assert done.returncode == 0, done.stderr
    ours = {"thoth_models.bundle.agreement", "thoth_models.bundle.golden", "thoth_models.embedding", "numpy"}
    assert {*ours, f"thoth_models.backends.{name}"} <= set(json.loads(done.stdout))


def test_a_module_of_ours_that_is_not_there_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A move of modules once made this do nothing, without a word."""
    monkeypatch.setitem(sys.modules, "thoth_models.bundle.golden", None)
    with pytest.raises(ImportError, match=r"thoth_models\.bundle\.golden"):
        import_libraries("onnx")


def test_a_library_that_is_missing_is_reported_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "thoth_models.backends.onnx_sessions", raising=False)
    monkeypatch.delitem(sys.modules, "thoth_models.backends.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    import_libraries("onnx")
    assert "thoth_models.backends.onnx" not in sys.modules


def test_a_backend_of_a_later_release_is_reported_later() -> None:
    import_libraries("of a later release")
