"""What a name means under the settings of a manager, for all who ask."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import thoth_models
from thoth_models import InvalidInputError, ManagerConfig, ModelUnavailableError, SpaceMismatchError, UnknownModelError
from thoth_models.manager.names import name_in_bundle, resolve, would_answer
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest

SOURCES = Path(thoth_models.__file__).parent


@pytest.fixture
def manifest(root: Path) -> Manifest:
    return open_bundle(root).manifest


@pytest.mark.parametrize(("name", "expected"), [("one", "one"), ("uno", "uno"), ("default", None), (None, None)])
def test_the_name_to_look_for(manifest: Manifest, name: str | None, expected: str | None) -> None:
    assert name_in_bundle(manifest, name) == expected


@pytest.mark.parametrize("name", [1, b"one", ["one"]])
def test_a_name_is_a_str(manifest: Manifest, name: Any) -> None:
    with pytest.raises(InvalidInputError, match="model: expected a name, found"):
        name_in_bundle(manifest, name)


def test_settings_say_which_variants_may_answer(manifest: Manifest) -> None:
    found = resolve(manifest, "uno", ManagerConfig(variants=["onnx-fp32"]))
    assert [candidate.place for candidate in found.candidates] == ["one/onnx-fp32"]


def test_a_space_of_the_settings_wins(manifest: Manifest) -> None:
    built = manifest.models["one"].built
    assert built is not None
    config = ManagerConfig(expect_spaces={"one": built.space.hex})
    assert would_answer(manifest, "one", config, expect_space="a" * 64)[0].model.name == "one"
    with pytest.raises(SpaceMismatchError):
        would_answer(manifest, "one", ManagerConfig(), expect_space="a" * 64)


def test_what_would_answer_and_why(manifest: Manifest) -> None:
    best, reason = would_answer(manifest, "default", ManagerConfig())
    assert (best.place, reason) == ("one/torch-fp32", None)
    best, reason = would_answer(manifest, "gone", ManagerConfig())
    assert best.place == "two/torch-fp32"
    assert reason is not None
    assert reason.startswith("two/torch-fp32 stands in for 'gone'; its vectors belong to another embedding space (")


def test_what_cannot_answer(manifest: Manifest) -> None:
    with pytest.raises(UnknownModelError, match="four"):
        would_answer(manifest, "four", ManagerConfig())
    with pytest.raises(ModelUnavailableError):
        would_answer(manifest, "two", ManagerConfig(variants=["onnx-fp32"]))


def test_names_are_resolved_in_one_place() -> None:
    """A load and the doctor have no settings, so that they ask for themselves."""
    callers = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "select"
    }
    assert callers == {"cli/doctor.py", "loading/load.py", "manager/names.py"}
