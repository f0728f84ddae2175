"""The wrappers around a backend: one function puts them on, in one order, for a load and for a manager."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import thoth_models
from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable, put_backend
from thoth_models import EmbeddingManager, ManagerConfig, load_embedding
from thoth_models.backends.batching_backend import BatchingBackend
from thoth_models.backends.counting_backend import CountingBackend
from thoth_models.backends.fork_safe import ForkSafeBackend
from thoth_models.backends.wrapping import wrap_backend
from thoth_models.manager.leased_backend import LeasedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(thoth_models.__file__).parent


def layers(backend: Any) -> list[type]:
    """Return the classes of a backend and of what it wraps, the outermost first."""
    found = [type(backend)]
    while (inner := getattr(backend, "_backend", None)) is not None:
        backend = inner
        found.append(type(backend))
    return found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini")], default="mini")
    yield root
    make_writable(root)


@pytest.mark.parametrize(
    ("batches", "counts", "expected"),
    [
        (False, False, [ForkSafeBackend, FakeBackend]),
        (True, False, [BatchingBackend, ForkSafeBackend, FakeBackend]),
        (False, True, [CountingBackend, ForkSafeBackend, FakeBackend]),
        (True, True, [CountingBackend, BatchingBackend, ForkSafeBackend, FakeBackend]),
    ],
)
def test_the_order(expected: list[type], *, batches: bool, counts: bool) -> None:
    count = (lambda **_: None) if counts else None
    wrapped = wrap_backend(FakeBackend(), lambda: pytest.fail("loaded again"), batches=batches, count=count)
    assert layers(wrapped) == expected


def test_a_load_puts_on_what_a_fork_needs(root: Path) -> None:
    assert layers(load_embedding("mini", root=root)._backend) == [ForkSafeBackend, FakeBackend]


@pytest.mark.parametrize("gather", [True, False])
def test_a_manager_puts_on_the_rest(root: Path, *, gather: bool) -> None:
    models = EmbeddingManager(ManagerConfig(root=root, gather=gather))
    leased = models.get_model("mini")._backend
    assert isinstance(leased, LeasedBackend)
    assert leased._lease is not None
    expected = [CountingBackend, *([BatchingBackend] if gather else []), ForkSafeBackend, FakeBackend]
    assert layers(leased._lease.thing.backend) == expected


def test_no_other_module_puts_a_wrapper_on() -> None:
    wrappers = {"BatchingBackend", "CountingBackend", "ForkSafeBackend"}
    callers = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in wrappers
    }
    assert callers == {"backends/wrapping.py"}
