"""What the tests of the guides need: the real bundle, from the committed list and lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.real_model import mini_bundle_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

collect_ignore = ["replica_before"]
"""Services with tests of their own, which run in copies."""


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle with the real model, by its aliases."""
    with mini_bundle_at(tmp_path_factory.mktemp("mini")) as bundle:
        yield bundle
