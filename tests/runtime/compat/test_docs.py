"""The code of docs/compat.md runs, and its list is one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.support.pages import Block, blocks_of
from thoth_models import EmbeddingManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCKS = blocks_of("docs/compat.md")


@pytest.fixture(autouse=True)
def _as_in_a_service(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THOTH_MODELS_DIR", str(root))
    monkeypatch.delenv("THOTH_EMBEDDINGS", raising=False)
    EmbeddingManager.get_instance().close()
    yield
    EmbeddingManager.get_instance().close()


class Client:
    def embed_texts(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text))] * 1536 for text in texts]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
@pytest.mark.parametrize("side", ["local", "hosted"])
def test_the_code_runs(block: Block, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    providers = ModuleType("my_service.providers")
    providers.client = Client()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_service", ModuleType("my_service"))
    monkeypatch.setitem(sys.modules, "my_service.providers", providers)
    monkeypatch.setenv("THOTH_EMBEDDINGS", side)
    names: dict[str, object] = {}
    block.run(names)
    if "vectors" in names:
        assert names["vectors"].shape == (1, 8 if side == "local" else 1536)  # type: ignore[attr-defined]
        assert names["embeddings"].stats().side == side  # type: ignore[attr-defined]


def test_there_is_code() -> None:
    assert len(BLOCKS) == 3
