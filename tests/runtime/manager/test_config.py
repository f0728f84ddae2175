"""Settings of a manager: which values they take, and how they reach other processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from thoth_models import InvalidInputError, ManagerConfig
from thoth_models.errors import EnvironmentFault


def test_settings_reach_other_processes(tmp_path: Path) -> None:
    given = ManagerConfig(root=tmp_path, variants=["onnx-fp32"], expect_spaces={"one": "a" * 64}, timeout=5)
    for copied in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given), copy.copy(given)):  # noqa: S301 - our own
        assert copied == given
        assert hash(copied) == hash(given)
        with pytest.raises(TypeError):
            copied.expect_spaces["two"] = "b"  # type: ignore[index]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": 5}, "root: expected a path as str or PathLike, found int"),
        ({"variants": "onnx-fp32"}, "variants: expected a sequence of names or None, found 'onnx-fp32'"),
        ({"common_models": [1]}, "common_models: expected names, found 1"),
        ({"expect_spaces": ["a"]}, "expect_spaces: expected a space by name of a model, found list"),
        ({"timeout": 0}, "timeout: expected a positive, finite number of seconds, found 0"),
        ({"memory_budget": 0}, "memory_budget: expected an integer of at least 1, found 0"),
        ({"memory_budget": True}, "memory_budget: expected an integer of at least 1, found True"),
        ({"async_threads": 1025}, "async_threads: expected an integer from 1 to 1024, found 1025"),
        ({"async_threads": None}, "async_threads: expected an integer from 1 to 1024, found None"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ManagerConfig(**settings)


def test_equal_settings_are_one_key_whatever_their_types() -> None:
    first = ManagerConfig(root=Path("/srv"), variants=["a", "b"], expect_spaces={"one": "a"})
    assert first == ManagerConfig(root="/srv", variants=("a", "b"), expect_spaces={"one": "a"})
    assert len({first, ManagerConfig(root="/srv", variants=("a", "b"), expect_spaces={"one": "a"})}) == 1


def test_what_was_set_is_shown() -> None:
    config = ManagerConfig(root="/srv", expect_spaces={"one": "a"}, gather=False)
    assert config.changed() == {"root": "/srv", "expect_spaces": {"one": "a"}, "gather": False}
    assert repr(config) == "ManagerConfig(root='/srv', expect_spaces={'one': 'a'}, gather=False)"
    assert repr(ManagerConfig()) == "ManagerConfig()"


def test_what_a_caller_changes_later_changes_nothing() -> None:
    spaces, variants = {"one": "a"}, ["x"]
    config = ManagerConfig(expect_spaces=spaces, variants=variants)
    spaces["two"], variants[0] = "b", "y"
    assert (dict(config.expect_spaces), config.variants) == ({"one": "a"}, ("x",))


def test_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_MEMORY", "5k")
    assert ManagerConfig(memory_budget=7).budget() == 7
    assert ManagerConfig().budget() == 5120


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7", 7),
        ("7b", 7),
        ("512m", 2**29),
        ("512M", 2**29),
        ("512Mi", 2**29),
        ("512MiB", 2**29),
        ("2Gi", 2**31),
        ("3KiB", 3072),
    ],
)
def test_a_budget_in_the_units_of_engines_and_of_kubernetes(
    text: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THOTH_MODELS_MEMORY", text)
    assert ManagerConfig().budget() == size


@pytest.mark.parametrize("text", ["0", "7i", "i", "-1", "1.5g", "1 g", "1t", "Mi", "5mim"])
def test_a_budget_that_is_no_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_MEMORY", text)
    with pytest.raises(
        EnvironmentFault, match="THOTH_MODELS_MEMORY: expected a number of bytes, or one with k, m or g"
    ):
        ManagerConfig().budget()
