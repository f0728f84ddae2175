"""How closely a variant follows the reference vectors, as the manifest records it.

Pure, and free of numpy, which takes longer to import than all of the rest; :mod:`thoth_models.agreement` measures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thoth_models.canonical import Node

_COSINE = re.compile(r"-?[01]\.\d{5}", re.ASCII)
_REQUIRED = re.compile(r"[01]\.\d{5}", re.ASCII)
_SHARE = re.compile(r"[01]\.\d{3}", re.ASCII)
_DIFFERENCE = re.compile(r"\d{1,20}\.\d{9}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """What was measured of a variant when it was built, against sentence-transformers in fp32.

    The figures are rounded so that none is better than what was measured, and coarsely enough that two machines whose
    arithmetic differs in the last bits record the same.

    Attributes:
        minimum_cosine: Of the golden texts, the worst cosine between a vector and its reference; 5 decimals.
        mean_cosine: Of the golden texts, the mean of these cosines; 5 decimals.
        largest_difference: Of the golden texts, the largest absolute difference of two numbers; 9 decimals.
        neighbour_agreement: Share of the ten nearest texts of a corpus that are the same; 3 decimals.
        required_cosine: What every golden text must reach, at build time and wherever the variant is loaded.
    """

    minimum_cosine: float
    mean_cosine: float
    largest_difference: float
    neighbour_agreement: float
    required_cosine: float


def accuracy_document(accuracy: Accuracy) -> dict[str, str]:
    """Return the JSON of an accuracy: decimals as strings, because a canonical document holds no floats."""
    return {
        "minimum_cosine": f"{accuracy.minimum_cosine:.5f}",
        "mean_cosine": f"{accuracy.mean_cosine:.5f}",
        "largest_difference": f"{accuracy.largest_difference:.9f}",
        "neighbour_agreement": f"{accuracy.neighbour_agreement:.3f}",
        "required_cosine": f"{accuracy.required_cosine:.5f}",
    }


def read_accuracy(node: Node) -> Accuracy:
    """Read the JSON of an accuracy.

    Raises:
        FormatError: A figure is missing or spelled otherwise.
    """
    keys = node.table("minimum_cosine", "mean_cosine", "largest_difference", "neighbour_agreement", "required_cosine")

    def cosine(key: str) -> float:
        return float(keys[key].matching(_COSINE, "a cosine with 5 decimals"))

    return Accuracy(
        minimum_cosine=cosine("minimum_cosine"),
        mean_cosine=cosine("mean_cosine"),
        largest_difference=float(keys["largest_difference"].matching(_DIFFERENCE, "a number with 9 decimals")),
        neighbour_agreement=float(keys["neighbour_agreement"].matching(_SHARE, "a share with 3 decimals")),
        required_cosine=float(keys["required_cosine"].matching(_REQUIRED, "a cosine from 0 to 1 with 5 decimals")),
    )
