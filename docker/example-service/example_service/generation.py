"""From a question to SQL, in four phases: keywords, schema link, evidence, SQL."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from example_service.encoder import Encoder
    from example_service.settings import Settings
    from example_service.workspace import Column, Workspace
    from thoth_models import Embedding

    Vectors = NDArray[np.float32]

Level = Literal["BASIC", "ADVANCED", "EXPERT"]

COLUMNS_OF_LEVEL: dict[Level, int] = {"BASIC": 4, "ADVANCED": 8, "EXPERT": 16}
"""Most columns that are linked."""

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
    """What is asked.

    Attributes:
        text: The question, in plain language.
        level: How much of the schema may be used.
        use_evidence: Whether the rules of the business are searched.
    """

    text: str
    level: Level
    use_evidence: bool


@dataclass(frozen=True, slots=True)
class Index:
    """The vectors of a workspace, made once when the service starts.

    They belong to the space of the model that made them. An index that is kept from one start to the next must keep
    ``embedding.info.space`` beside it, and be loaded with ``expect_space``.
    """

    workspace: Workspace
    columns: Vectors
    evidence: Vectors

    @classmethod
    def of(cls, workspace: Workspace, embedding: Embedding) -> Index:
        """Encode all documents of a workspace."""
        return cls(
            workspace,
            embedding.encode([column.document for column in workspace.columns]),
            embedding.encode(workspace.evidence),
        )


async def generate(
    question: Question, index: Index, encoder: Encoder, settings: Settings
) -> AsyncIterator[dict[str, Any]]:
    """Yield what each phase found, as soon as it is there; each with the seconds that it took."""
    started = time.monotonic()

    def phase(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal started
        before, started = started, time.monotonic()
        return {"phase": name, **found, "seconds": round(started - before, 4)}

    keywords = keywords_of(question.text)
    yield phase("keywords", {"keywords": keywords})

    # No keyword is no text: the vectors then have the shape (0, dimension), and nothing is linked.
    links = _nearest(index.columns, await encoder.encode(keywords), settings.schema_threshold)
    most = COLUMNS_OF_LEVEL[question.level]
    linked = [(index.workspace.columns[row], similarity) for row, similarity in links[:most]]
    columns = [
        {"table": column.table, "column": column.name, "similarity": similarity} for column, similarity in linked
    ]
    yield phase("schema", {"columns": columns})

    rules: list[dict[str, Any]] = []
    if question.use_evidence:
        found = _nearest(index.evidence, await encoder.encode([question.text]), settings.evidence_threshold)
        rules = [{"text": index.workspace.evidence[row], "similarity": similarity} for row, similarity in found]
    yield phase("evidence", {"evidence": rules})

    yield phase("sql", {"sql": sql_of([column for column, _ in linked], index.workspace)})


def keywords_of(question: str) -> list[str]:
    """Return the words of a question that carry its meaning, each once, in order."""
    words = re.findall(r"\w+", question.lower())
    return [word for word in dict.fromkeys(words) if word not in _STOP_WORDS]


def sql_of(columns: list[Column], workspace: Workspace) -> str | None:
    """Return a query over ``columns``; None where there are none.

    A real service asks a language model here, with the linked columns and the evidence in its prompt.
    """
    tables = list(dict.fromkeys(column.table for column in columns))
    if not tables:
        return None
    selected = ", ".join(f"{column.table}.{column.name}" for column in columns)
    conditions = [on for pair, on in workspace.joins.items() if set(pair) <= set(tables)]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {selected} FROM {', '.join(tables)}{where}"  # noqa: S608 - of names from the schema


def _nearest(documents: Vectors, queries: Vectors, threshold: float) -> list[tuple[int, float]]:
    """Return the documents that are similar enough to any query, the most similar first, each with its similarity.

    Vectors are unit length, so the dot product is the cosine.
    """
    if not len(queries) or not len(documents):
        return []
    similarities = (documents @ queries.T).max(axis=1)
    order = similarities.argsort(kind="stable")[::-1]
    return [(int(row), round(float(similarities[row]), 4)) for row in order if similarities[row] >= threshold]
