"""A model in use: until its user ends the use, and again in a child of fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend
from thoth_models import InvalidInputError
from thoth_models.loading.tasks import Loaded
from thoth_models.manager.leased_backend import LeasedBackend
from thoth_models.manager.pool import Pool
from thoth_models.process.task import Task

if TYPE_CHECKING:
    from thoth_models.manager.pool import Lease


class Loading(Task[Loaded]):
    def __init__(self) -> None:
        super().__init__("a model", 30)

    def do(self) -> Loaded:
        return Loaded(backend=FakeBackend(), golden=None, golden_cosine=None, verify_seconds=0.0, load_seconds=0.0)


@pytest.fixture
def pool() -> Pool[Loaded]:
    return Pool(None, lambda key, size: None)


def leased(pool: Pool[Loaded]) -> LeasedBackend:
    def again() -> Lease[Loaded]:
        return pool.lease("mini", 1, Loading, 30)

    return LeasedBackend(again(), again)


def encode(backend: LeasedBackend) -> tuple[int, ...]:
    return backend.encode(["a"], prompt=None, batch_size=None, show_progress_bar=False).shape


def uses(pool: Pool[Loaded]) -> list[int]:
    return [resident.uses for resident in pool.residents()]


def test_it_is_in_use_until_its_end(pool: Pool[Loaded]) -> None:
    backend = leased(pool)
    assert encode(backend) == (1, 8)
    assert uses(pool) == [1]
    backend.release()
    backend.release()
    assert uses(pool) == [0]
    with pytest.raises(InvalidInputError, match="expected a call inside its `with` block"):
        encode(backend)


def test_a_child_takes_the_model_again_at_its_first_call(pool: Pool[Loaded]) -> None:
    backend = leased(pool)
    pool.after_fork_in_child()
    assert uses(pool) == [0]
    for _ in range(2):
        assert encode(backend) == (1, 8)
        assert uses(pool) == [1]
    backend.release()
    assert uses(pool) == [0]
