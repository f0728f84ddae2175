"""The bodies of requests, validated."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from example_service.generation import Level  # noqa: TC001 - pydantic reads the annotations
from example_service.workspace import Column, Example, Workspace

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Text = Annotated[str, Field(min_length=1, max_length=10_000)]
_MAX_DOCUMENTS = 20_000
"""Maximum number of columns, rules or examples of a workspace."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GenerateSqlRequest(_Body):
    """The body of ``POST /generate-sql``."""

    question: _Text
    workspace_id: int
    functionality_level: Level = "BASIC"
    flags: dict[str, bool] = {}
    """``use_evidence`` and ``use_examples``, both on by default, search these; other flags are ignored."""


class ColumnBody(_Body):
    """A column, and its meaning in words."""

    table: _Name
    name: _Name
    meaning: _Text


class JoinBody(_Body):
    """How two tables are joined."""

    tables: tuple[_Name, _Name]
    on: _Text


class ExampleBody(_Body):
    """A question that was answered before, and its correct query."""

    question: _Text
    sql: _Text


class WorkspaceBody(_Body):
    """The body of ``PUT /workspaces/{number}``."""

    columns: Annotated[list[ColumnBody], Field(max_length=_MAX_DOCUMENTS)]
    joins: list[JoinBody] = []
    evidence: Annotated[list[_Text], Field(max_length=_MAX_DOCUMENTS)] = []
    examples: Annotated[list[ExampleBody], Field(max_length=_MAX_DOCUMENTS)] = []

    def workspace(self) -> Workspace:
        """Return the workspace that the body describes."""
        return Workspace(
            columns=tuple(Column(column.table, column.name, column.meaning) for column in self.columns),
            joins={join.tables: join.on for join in self.joins},
            evidence=tuple(self.evidence),
            examples=tuple(Example(example.question, example.sql) for example in self.examples),
        )
