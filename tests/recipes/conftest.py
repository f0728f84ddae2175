"""What runs each recipe; they run in `nox -s recipe_tests` alone, which has the frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.recipes.running import Runner
from tests.support.real_model import mini_bundle_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # What their pages say is tested everywhere.
        if item.path.is_relative_to(_HERE) and item.path.stem != "test_pages":
            item.add_marker("recipes")


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real model, from the committed list and lock."""
    with mini_bundle_at(tmp_path_factory.mktemp("mini")) as bundle:
        yield bundle


@pytest.fixture
def runner(mini_bundle: Path, tmp_path: Path) -> Runner:
    return Runner(tmp_path, mini_bundle)
