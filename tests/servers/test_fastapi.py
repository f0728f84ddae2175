"""``Depends(EmbeddingManager.get_instance)``, with FastAPI itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from thoth_models import EmbeddingManager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def app(invented_bundle: Path) -> FastAPI:
    app = FastAPI()

    @app.post("/embed")
    async def embed(
        texts: list[str], manager: Annotated[EmbeddingManager, Depends(EmbeddingManager.get_instance)]
    ) -> list[list[float]]:
        assert manager is EmbeddingManager.get_instance()
        vectors: list[list[float]] = (await manager.aencode(texts)).tolist()
        return vectors

    return app


def test_the_manager_of_the_process_is_a_dependency(app: FastAPI) -> None:
    answer = TestClient(app).post("/embed", json=["a", "b"])
    assert (answer.status_code, len(answer.json())) == (200, 2)


@pytest.mark.hostile
def test_a_request_cannot_choose_the_settings(app: FastAPI) -> None:
    operation = app.openapi()["paths"]["/embed"]["post"]
    assert "parameters" not in operation
    [content] = operation["requestBody"]["content"].values()
    assert content["schema"]["type"] == "array"  # the texts alone
    assert TestClient(app).post("/embed?config=1", json=["a"]).status_code == 200
