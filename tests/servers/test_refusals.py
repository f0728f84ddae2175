"""What the applications of the page answer where they have no vectors: 422 if the request must change, 503 if not."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from tests.servers import documented
from thoth_models import EmbeddingManager
from thoth_models.inputs import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[[str, object], tuple[int, Any]]

TOO_LONG = "a" * (MAX_CHARACTERS + 1)


def names_of(file: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(documented.documented()[file], file, "exec"), names)  # noqa: S102 - our own page
    return names


def by_wsgi(path: str, body: object) -> tuple[int, Any]:
    data = json.dumps(body).encode()
    environ = {"PATH_INFO": path, "CONTENT_LENGTH": str(len(data)), "wsgi.input": io.BytesIO(data)}
    statuses: list[str] = []
    answer = names_of("service.py")["application"](environ, lambda status, _headers: statuses.append(status))
    (status,) = statuses
    return int(status[:3]), json.loads(b"".join(answer))


def by_asgi(path: str, body: object) -> tuple[int, Any]:
    with TestClient(names_of("asgi.py")["app"]) as client:
        answer = client.get(path) if body is None else client.post(path, json=body)
    return answer.status_code, answer.json()


both = pytest.mark.parametrize("ask", [by_wsgi, by_asgi], ids=["service.py", "asgi.py"])


@pytest.mark.hostile
@both
@pytest.mark.usefixtures("invented_bundle")
def test_a_text_that_is_too_long_is_the_clients_error(ask: Ask) -> None:
    assert ask("/embed", ["a text"])[0] == 200
    status, answer = ask("/embed", ["a text", TOO_LONG])
    assert status == 422
    assert "expected at most 262,144 characters, found 262,145" in answer["reason"]


@both
def test_a_bundle_that_is_not_there_is_not(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_DIR", str(tmp_path / "none"))
    EmbeddingManager.get_instance().close()  # the one of another test
    for path, body in (("/embed", ["a text"]), ("/ready", None)):
        status, answer = ask(path, body)
        assert status == 503
        assert str(tmp_path / "none") in answer["reason"]
    assert ask("/health", None) == (200, {})
