"""The command of the guide that copies collections: what an editor changed stays, nothing is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.migration.deployment import LOCAL, Deployment
from tests.migration.guides import migrated
from tests.support.qdrant_points import Collection, QdrantServer, qdrant_serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.onnx]

VECTOR = [1.0, 0.0, 0.0]
"""Of the hosted provider, whose collections are only read here."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated(tmp_path_factory.mktemp("tree") / "tree")


@pytest.fixture
def qdrant() -> Iterator[QdrantServer]:
    with qdrant_serving() as server:
        yield server


@pytest.fixture
def backend(tree: Path, qdrant: QdrantServer, packages: list[Path], mini_bundle: Path, tmp_path: Path) -> Deployment:
    settings = {**LOCAL, "THOTH_MODELS_DIR": str(mini_bundle)}
    return Deployment(tree, qdrant, settings, packages, tmp_path, is_offline=True, backend_port=0)


def evidence(number: int, text: str) -> dict[str, Any]:
    name = str(UUID(int=number))
    payload = {"thoth_type": "evidence", "thoth_id": name, "text": text, "evidence": text}
    return {"id": name, "vector": VECTOR, "payload": payload}


def example(number: int, question: str, sql: str) -> dict[str, Any]:
    """Return an SQL document, whose text is its question alone, as in the release."""
    name = str(UUID(int=number))
    payload = {"thoth_type": "sql", "thoth_id": name, "text": f"{question} ", "question": question, "sql": sql}
    return {"id": name, "vector": VECTOR, "payload": {**payload, "evidence": ""}}


def stored(qdrant: QdrantServer, *points: dict[str, Any], name: str = "shop") -> None:
    qdrant.collections.setdefault(name, Collection(len(VECTOR))).put(list(points))


def fields(qdrant: QdrantServer, name: str, field: str) -> list[str]:
    return sorted(str(payload[field]) for _, payload in qdrant.collections[name].points.values() if field in payload)


def test_what_was_edited_after_the_switch_stays(backend: Deployment, qdrant: QdrantServer) -> None:
    """An edit keeps its id; only --replace, for the run before the switch and for the way back, overwrites it."""
    stored(qdrant, evidence(1, "loyal: ten orders"), evidence(2, "late: after the day that was promised"))
    backend.run("manage.py", "copy_collection", "1")
    edited = "loyal: twenty orders"
    qdrant.collections["shop-mini"].points[str(UUID(int=1))][1].update(text=edited, evidence=edited)

    printed = backend.run("manage.py", "copy_collection", "1")
    assert printed == "shop: 2 documents; 0 added to shop-mini; 1 differ there and stay\n"
    assert edited in fields(qdrant, "shop-mini", "evidence")

    printed = backend.run("manage.py", "copy_collection", "1", "--replace")
    assert printed == "shop: 2 documents; 0 added to shop-mini; 1 differ there and were replaced\n"
    assert fields(qdrant, "shop-mini", "evidence") == fields(qdrant, "shop", "evidence")


def test_all_fields_count_not_the_text_alone(backend: Deployment, qdrant: QdrantServer) -> None:
    """Two examples of one question have the same text; a document that has another id and nothing else is known."""
    stored(qdrant, example(1, "who is late?", "SELECT 1"), example(2, "who is late?", "SELECT 2"))
    backend.run("manage.py", "copy_collection", "1")
    stored(qdrant, example(1, "who is late?", "SELECT 3"))  # edited in the SQL alone
    stored(qdrant, *(example(number, "who is late?", f"SELECT {sql}") for number, sql in ((3, 2), (4, 4), (5, 1))))

    printed = backend.run("manage.py", "copy_collection", "1", "--replace")
    assert printed == "shop: 5 documents; 2 added to shop-mini; 1 differ there and were replaced\n"
    assert fields(qdrant, "shop-mini", "sql") == ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4"]


def test_all_workspaces_are_copied(backend: Deployment, qdrant: QdrantServer) -> None:
    stored(qdrant, evidence(1, "loyal: ten orders"))
    stored(qdrant, evidence(2, "kept for ten years"), name="archive")
    assert backend.run("manage.py", "copy_collection").splitlines() == [
        "workspace 3: no vector database",
        "shop: 1 documents; 1 added to shop-mini; 0 differ there and stay",
        "archive: 1 documents; 1 added to archive-mini; 0 differ there and stay",
    ]
    assert qdrant.counts()["archive-mini"] == {"evidence": 1}


def test_what_cannot_be_copied_is_an_error_after_the_rest(backend: Deployment, qdrant: QdrantServer) -> None:
    stored(qdrant, evidence(2, "kept for ten years"), name="archive")
    with pytest.raises(AssertionError, match=r"expected collections to read for \['shop'\], found none"):
        backend.run("manage.py", "copy_collection")
    assert qdrant.counts()["archive-mini"] == {"evidence": 1}
    with pytest.raises(AssertionError, match=r"expected workspaces of \[1, 2, 3\], found \[7\]"):
        backend.run("manage.py", "copy_collection", "7")
