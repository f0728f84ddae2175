"""Stands in for the tables of the database: one workspace, whose collection and address the environment has."""

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
    sql_db: SqlDb
    preprocessing_status: str = "IDLE"
    last_preprocess_log: str = ""


def _workspace() -> Workspace:
    host, _, port = os.environ.get("QDRANT", "thoth-qdrant:6333").partition(":")
    return Workspace(1, "Demo", SqlDb("shop", "shop", VectorDb("shop", host, int(port))))


@dataclass
class _Objects:
    made: dict = field(default_factory=dict)

    def get(self, **found):
        """Return the only object."""
        if "workspace" not in self.made:
            self.made["workspace"] = _workspace()
        workspace = self.made["workspace"]
        return workspace if "id" in found else workspace.sql_db


Workspace.objects = SqlDb.objects = _Objects()
