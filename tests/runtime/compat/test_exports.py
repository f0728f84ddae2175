"""What thoth_models.compat offers, and that nothing of it is imported before it is asked for."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING

import pytest

import thoth_models.compat

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


def test_every_name_is_there() -> None:
    for name in thoth_models.compat.__all__:
        found = getattr(thoth_models.compat, name)
        assert found.__name__ == name
        assert getattr(importlib.import_module(found.__module__), name) is found


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match=r"module 'thoth_models.compat' has no attribute 'SentenceTransformer'"):
        thoth_models.compat.SentenceTransformer  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import thoth_models", set()),
        ("import thoth_models.compat", {"thoth_models.compat"}),
        (
            "from thoth_models.compat import EnvironmentDetector",
            {"thoth_models.compat", "thoth_models.compat.environment_detector"},
        ),
    ],
)
def test_nothing_is_imported_before_it_is_asked_for(
    run_python: Callable[..., subprocess.CompletedProcess[str]], statement: str, expected: set[str]
) -> None:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    modules = set(json.loads(run_python("-c", code).stdout))
    ours = {
        name
        for name in modules
        if name.startswith(
            (
                "thoth_models.compat",
                "thoth_models.compat.environment_detector",
                "thoth_models.switching",
                "thoth_models.switching.sides",
            )
        )
    }
    assert ours == expected
    assert "numpy" not in modules


def test_importing_all_of_it_imports_no_framework(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    names = ", ".join(thoth_models.compat.__all__)
    code = f"from thoth_models.compat import {names}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    modules = {name.partition(".")[0] for name in json.loads(run_python("-c", code).stdout)}
    assert modules & {"haystack", "torch", "sentence_transformers", "onnxruntime", "tokenizers", "openai"} == set()
    assert "numpy" in modules
