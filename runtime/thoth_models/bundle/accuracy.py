"""How closely a variant follows the reference vectors: the gate that it passed, and the measured figures.

Pure, and free of numpy, which takes longer to import than everything else; :mod:`thoth_models.bundle.agreement`
measures. The manifest records the gate. The figures differ between processors in their last digits, so they are in
``report.json`` (:mod:`thoth_models.bundle.report`), which is not part of the bundle digest.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from thoth_models.bundle.canonical_json import Node

_COSINE = re.compile(r"-?[01]\.\d{5}", re.ASCII)
_REQUIRED = re.compile(r"[01]\.\d{5}", re.ASCII)
_SHARE = re.compile(r"[01]\.\d{3}", re.ASCII)
_DIFFERENCE = re.compile(r"\d{1,20}\.\d{9}", re.ASCII)

MAX_DRIFT: Final = 0.005
"""How much lower the worst cosine may be on another processor; between AVX2 and VNNI it was 0.0004
(docs/decisions/0009)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The accuracy that a variant had to reach to be shipped.

    Attributes:
        required_cosine: Cosine that every golden text must reach, at build time and at each load; 5 decimals.
        required_agreement: What share of a corpus' nearest texts had to be the same at build time, or None if
            that is not a condition; 3 decimals.
    """

    required_cosine: float
    required_agreement: float | None = None

    @classmethod
    def of(cls, cosine: float, agreement: float | None = None) -> Self:
        """Return the gate with its numbers rounded down to the decimals of the manifest."""
        return cls(
            required_cosine=rounded_down(cosine, 5),
            required_agreement=None if agreement is None else rounded_down(agreement, 3),
        )

    def misses(self, accuracy: Accuracy) -> list[str]:
        """Return the reasons why a variant with these figures does not pass; empty if it passes."""
        pairs = [("minimum cosine", self.required_cosine, accuracy.minimum_cosine)]
        if self.required_agreement is not None:
            pairs.append(("neighbour agreement", self.required_agreement, accuracy.neighbour_agreement))
        return [f"expected a {what} of {least}, found {found}" for what, least, found in pairs if found < least]

    def to_document(self) -> dict[str, object]:
        """Return the JSON value: decimals as strings, because a canonical document holds no floats."""
        agreement = self.required_agreement
        return {
            "required_cosine": f"{self.required_cosine:.5f}",
            "required_agreement": None if agreement is None else f"{agreement:.3f}",
        }

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value.

        Raises:
            FormatError: A number is missing, or not in the canonical form.
        """
        keys = node.members("required_cosine", "required_agreement")
        agreement = keys["required_agreement"]
        return cls(
            required_cosine=float(keys["required_cosine"].matching(_REQUIRED, "a cosine from 0 to 1 with 5 decimals")),
            required_agreement=None
            if agreement.value is None
            else float(agreement.matching(_SHARE, "a share with 3 decimals")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """The figures of a variant, measured when it was built against sentence-transformers in fp32.

    They are rounded so that no figure is better than the measured one.

    Attributes:
        minimum_cosine: The worst cosine between the vector of a golden text and its reference; 5 decimals.
        mean_cosine: The mean of these cosines; 5 decimals.
        largest_difference: The largest absolute difference of two components; 9 decimals.
        neighbour_agreement: Share of the ten nearest texts in a corpus that are the same; 3 decimals.
        cosines: The cosine of each golden text, in the order of ``golden.json``; 5 decimals. Empty in figures of
            releases that did not record them.
    """

    minimum_cosine: float
    mean_cosine: float
    largest_difference: float
    neighbour_agreement: float
    cosines: tuple[float, ...] = ()

    def summary(self) -> dict[str, float]:
        """Return the figures by name, without those of single texts."""
        return {
            "minimum_cosine": self.minimum_cosine,
            "mean_cosine": self.mean_cosine,
            "largest_difference": self.largest_difference,
            "neighbour_agreement": self.neighbour_agreement,
        }

    def to_document(self) -> dict[str, object]:
        """Return the JSON value: decimals as strings, because a canonical document holds no floats."""
        return {
            "minimum_cosine": f"{self.minimum_cosine:.5f}",
            "mean_cosine": f"{self.mean_cosine:.5f}",
            "largest_difference": f"{self.largest_difference:.9f}",
            "neighbour_agreement": f"{self.neighbour_agreement:.3f}",
            **({"cosines": [f"{cosine:.5f}" for cosine in self.cosines]} if self.cosines else {}),
        }

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value.

        Raises:
            FormatError: A figure is missing, not in the canonical form, or contradicts another one.
        """
        keys = node.members(
            "minimum_cosine", "mean_cosine", "largest_difference", "neighbour_agreement", optional=("cosines",)
        )
        minimum = float(keys["minimum_cosine"].matching(_COSINE, "a cosine with 5 decimals"))
        cosines: tuple[float, ...] = ()
        if "cosines" in keys:
            items = keys["cosines"].items()
            cosines = tuple(float(item.matching(_COSINE, "a cosine with 5 decimals")) for item in items)
            if min(cosines, default=None) != minimum:
                found = f"{min(cosines):.5f}" if cosines else "none"
                raise keys["cosines"].wrong(f"cosines of which the worst is {minimum:.5f}", found=found)
        return cls(
            minimum_cosine=minimum,
            mean_cosine=float(keys["mean_cosine"].matching(_COSINE, "a cosine with 5 decimals")),
            largest_difference=float(keys["largest_difference"].matching(_DIFFERENCE, "a number with 9 decimals")),
            neighbour_agreement=float(keys["neighbour_agreement"].matching(_SHARE, "a share with 3 decimals")),
            cosines=cosines,
        )


def rounded_down(value: float, decimals: int) -> float:
    """Return ``value``, at most 1, rounded down to so many decimals."""
    # Rounding errors may put a cosine of 1 slightly above 1, and an exact decimal slightly below itself.
    scale = 10.0**decimals
    return math.floor(min(value, 1.0) * scale + 1e-6) / scale
