"""The index of a workspace: its vectors, and the search for those near to a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from example_service.workspace import Workspace

    Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Index:
    """The vectors of a workspace: of its columns, its evidence, and the questions of its examples.

    They belong to the space of the model that computed them. An index that outlives the process must store the space,
    and be used with ``expect_space``.
    """

    workspace: Workspace
    columns: Vectors
    evidence: Vectors
    examples: Vectors

    @staticmethod
    def documents(workspace: Workspace) -> list[str]:
        """Return the texts of a workspace that the index has vectors for, in the order of :meth:`of`."""
        columns = [column.document for column in workspace.columns]
        return [*columns, *workspace.evidence, *(example.question for example in workspace.examples)]

    @classmethod
    def of(cls, workspace: Workspace, vectors: Sequence[Vectors]) -> Index:
        """Build the index from the vectors of :meth:`documents`, in one or several arrays."""
        together = np.concatenate(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
        ends = np.cumsum([len(workspace.columns), len(workspace.evidence)])
        columns, evidence, examples = np.split(together, ends)
        return cls(workspace, columns, evidence, examples)


def nearest(documents: Vectors, queries: Vectors, threshold: float) -> list[tuple[int, float]]:
    """Return the documents that are similar enough to any query, with their similarities, most similar first.

    Vectors are unit length, so the dot product is the cosine.
    """
    if not len(queries) or not len(documents):
        return []
    similarities = (documents @ queries.T).max(axis=1)
    order = similarities.argsort(kind="stable")[::-1]
    return [(int(row), round(float(similarities[row]), 4)) for row in order if similarities[row] >= threshold]
