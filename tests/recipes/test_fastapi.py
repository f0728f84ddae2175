"""FastAPI: the manager as a dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    from fastapi.testclient import TestClient

    from thoth_models import EmbeddingManager
    from thoth_models.inputs import MAX_CHARACTERS

    texts = ["customer city", "order total"]
    with TestClient(names["app"]) as client:
        assert EmbeddingManager.get_instance().stats().models["mini"].loads == 1
        answer = client.post("/embed", json=texts)
        assert answer.status_code == 200, answer.text
        assert_ours(answer.json()["vectors"], texts)
        refused = client.post("/embed", json=["a" * (MAX_CHARACTERS + 1)])
        assert (refused.status_code, list(refused.json())) == (422, ["reason"])
        asked = client.get("/openapi.json").json()["paths"]["/embed"]["post"]
        assert "parameters" not in asked  # what get_instance takes is no parameter of the route
        names["app"].dependency_overrides[EmbeddingManager.get_instance] = lambda: None
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'aencode'"):
            client.post("/embed", json=texts)


def test_the_recipe(runner: Runner) -> None:
    runner.follow("fastapi", check)
