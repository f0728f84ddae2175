"""From a question to SQL, in five phases: keywords, schema link, evidence, examples, SQL."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from example_service.index import nearest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from example_service.encoder import Encoder
    from example_service.index import Index
    from example_service.settings import Settings
    from example_service.workspace import Column, Workspace

Level = Literal["BASIC", "ADVANCED", "EXPERT"]

COLUMNS_OF_LEVEL: dict[Level, int] = {"BASIC": 4, "ADVANCED": 8, "EXPERT": 16}
"""Maximum number of columns that are linked."""

_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
a all an and are as at by did do does for from give had has have how i in is it list many me much of on or our please
show that the their there these they this to was we were what when where which who whose with you
""",
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question.

    Attributes:
        text: The question, in plain language.
        level: How much of the schema may be used.
        use_evidence: Whether to search the business rules.
        use_examples: Whether to search questions that were answered before.
    """

    text: str
    level: Level
    use_evidence: bool
    use_examples: bool


async def generate(
    question: Question, index: Index, encoder: Encoder, settings: Settings
) -> AsyncIterator[dict[str, Any]]:
    """Yield the result of each phase as soon as it is done, with its duration in seconds."""
    started = time.monotonic()

    def phase(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal started
        before, started = started, time.monotonic()
        return {"phase": name, **found, "seconds": round(started - before, 4)}

    keywords = keywords_of(question.text)
    yield phase("keywords", {"keywords": keywords})

    # Without keywords the vectors have the shape (0, dimension), and nothing is linked.
    links = nearest(index.columns, await encoder.encode(keywords), settings.schema_threshold)
    most = COLUMNS_OF_LEVEL[question.level]
    linked = [(index.workspace.columns[row], similarity) for row, similarity in links[:most]]
    columns = [
        {"table": column.table, "column": column.name, "similarity": similarity} for column, similarity in linked
    ]
    yield phase("schema", {"columns": columns})

    wanted = [question.text] if question.use_evidence or question.use_examples else []
    asked = await encoder.encode(wanted)
    rules: list[dict[str, Any]] = []
    if question.use_evidence:
        found = nearest(index.evidence, asked, settings.evidence_threshold)
        rules = [{"text": index.workspace.evidence[row], "similarity": similarity} for row, similarity in found]
    yield phase("evidence", {"evidence": rules})

    examples: list[dict[str, Any]] = []
    if question.use_examples:
        for row, similarity in nearest(index.examples, asked, settings.example_threshold):
            example = index.workspace.examples[row]
            examples.append({"question": example.question, "sql": example.sql, "similarity": similarity})
    yield phase("examples", {"examples": examples})

    yield phase("sql", {"sql": sql_of([column for column, _ in linked], index.workspace)})


def keywords_of(question: str) -> list[str]:
    """Return the words of a question that carry meaning, each once, in order."""
    words = re.findall(r"\w+", question.lower())
    return [word for word in dict.fromkeys(words) if word not in _STOP_WORDS]


def sql_of(columns: list[Column], workspace: Workspace) -> str | None:
    """Return a query over ``columns``; None if there are none.

    A real service asks a language model here, with the linked columns, the evidence and the examples in its prompt.
    """
    tables = list(dict.fromkeys(column.table for column in columns))
    if not tables:
        return None
    selected = ", ".join(f"{column.table}.{column.name}" for column in columns)
    conditions = [on for pair, on in workspace.joins.items() if set(pair) <= set(tables)]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {selected} FROM {', '.join(tables)}{where}"  # noqa: S608 - of names from the schema
