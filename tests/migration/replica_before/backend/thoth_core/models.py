"""Stands in for the tables of the database: three workspaces, whose collections and address the environment has."""

import os
from dataclasses import dataclass, field


class VectorDbChoices:
    """The stores that a workspace can have."""

    QDRANT = "Qdrant"


@dataclass
class VectorDb:
    """The name of the collection, and where the store is."""

    name: str
    host: str
    port: int
    vect_type: str = VectorDbChoices.QDRANT


@dataclass
class SqlDb:
    """A database that questions are asked about."""

    name: str
    db_name: str
    vector_db: VectorDb

    def get_collection_name(self) -> str:
        """Return the name of the database."""
        return self.name


@dataclass
class Workspace:
    """A workspace, and what became of its index."""

    id: int
    name: str
    sql_db: SqlDb | None
    preprocessing_status: str = "IDLE"
    last_preprocess_log: str = ""


def _workspaces() -> list[Workspace]:
    host, _, port = os.environ.get("QDRANT", "thoth-qdrant:6333").partition(":")
    shop, archive = (SqlDb(name, name, VectorDb(name, host, int(port))) for name in ("shop", "archive"))
    return [Workspace(1, "Demo", shop), Workspace(2, "Archive", archive), Workspace(3, "Empty", None)]


@dataclass
class _Objects:
    made: list = field(default_factory=list)

    def all(self):
        """Return the workspaces."""
        self.made = self.made or _workspaces()
        return self.made

    def get(self, **found):
        """Return a workspace, or the database of the first one."""
        if "id" not in found:
            return self.all()[0].sql_db
        (workspace,) = [one for one in self.all() if one.id == found["id"]]
        return workspace


Workspace.objects = SqlDb.objects = _Objects()
