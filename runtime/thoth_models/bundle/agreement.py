"""Measuring how closely vectors follow their references.

Pure. The builder measures a variant when it is built, and the runtime measures it again on its own machine. Both use
this code, so that their figures are comparable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.bundle.accuracy import Accuracy, rounded_down

if TYPE_CHECKING:
    from thoth_models.types import FloatArray

NEIGHBOURS = 10
"""How many nearest neighbours in a corpus are compared."""

MAX_LENGTH_RATIO = 1.5
"""How far the length of a vector may be from that of its reference, as a ratio.

A cosine does not depend on the length, and rounding hardly changes it; a missing or extra normalisation does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How closely vectors follow their references.

    Attributes:
        minimum_cosine: The worst cosine; NaN if a vector holds one.
        mean_cosine: The mean of the cosines.
        largest_difference: The largest absolute difference of two components.
        length_ratio: The length of a vector divided by that of its reference, for the text where it is farthest from 1.
        worst: Index of the text with the worst cosine.
        cosines: The cosine of each text.
    """

    minimum_cosine: float
    mean_cosine: float
    largest_difference: float
    length_ratio: float
    worst: int
    cosines: tuple[float, ...] = ()

    def reaches(self, required_cosine: float) -> bool:
        """Return whether every cosine is high enough and every length is right; False if there is a NaN."""
        is_as_long = 1 / MAX_LENGTH_RATIO <= self.length_ratio <= MAX_LENGTH_RATIO
        return self.minimum_cosine >= required_cosine and is_as_long

    def __str__(self) -> str:
        """Return the figures as one line."""
        return (
            f"cosine at least {self.minimum_cosine:.6f} and {self.mean_cosine:.6f} on average, "
            f"length {self.length_ratio:.5g} of the reference, largest difference {self.largest_difference:.2g}"
        )


def compare(reference: FloatArray, found: FloatArray) -> Agreement:
    """Return how closely ``found`` follows ``reference``, both of shape (n, dimension) with n of at least 1.

    Two vectors of zeros are equal, and so have the cosine 1; a vector of zeros and another one have 0.
    """
    left, right = reference.astype(np.float64), found.astype(np.float64)
    lengths, other_lengths = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    both, either = lengths * other_lengths, (lengths > 0) | (other_lengths > 0)
    products = np.einsum("nd,nd->n", left, right)
    cosines = np.where(either, products / np.where(both > 0, both, 1.0), 1.0)
    ratios = np.where(either, other_lengths / np.where(lengths > 0, lengths, np.finfo(np.float64).tiny), 1.0)
    # Comparisons with NaN are false, so NaN has to be checked explicitly.
    worst = int(np.argmax(np.isnan(cosines))) if np.isnan(cosines).any() else int(np.argmin(cosines))
    farthest = int(np.argmax(np.abs(np.log(np.maximum(ratios, np.finfo(np.float64).tiny)))))
    return Agreement(
        minimum_cosine=float(cosines[worst]),
        mean_cosine=float(cosines.mean()),
        largest_difference=float(np.abs(left - right).max()),
        length_ratio=float(ratios[farthest]),
        worst=worst,
        cosines=tuple(cosines.tolist()),
    )


def neighbour_agreement(reference: FloatArray, found: FloatArray) -> float:
    """Return the share of each text's nearest neighbours, by cosine, that two sets of vectors have in common.

    Args:
        reference: Vectors of a corpus, of shape (n, dimension) with n of more than :data:`NEIGHBOURS`.
        found: The other vectors of the same texts.
    """
    ours, theirs = _nearest(reference), _nearest(found)
    shared = sum(len(set(a) & set(b)) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True))
    return shared / ours.size


def _nearest(vectors: FloatArray) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    # A stable sort, so that texts with equal vectors are always in the same order.
    return np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]


def measured(agreement: Agreement, neighbours: float) -> Accuracy:
    """Return a measurement as figures for the report; see :class:`Accuracy` for the rounding."""
    step = 10.0 ** math.floor(math.log10(agreement.largest_difference)) if agreement.largest_difference > 0 else 1.0
    return Accuracy(
        minimum_cosine=rounded_down(agreement.minimum_cosine, 5),
        mean_cosine=rounded_down(agreement.mean_cosine, 5),
        # To one significant digit.
        largest_difference=round(max(math.ceil(agreement.largest_difference / step) * step, 1e-9), 9)
        if agreement.largest_difference > 0
        else 0.0,
        neighbour_agreement=rounded_down(neighbours, 3),
        cosines=tuple(rounded_down(cosine, 5) for cosine in agreement.cosines),
    )
