from __future__ import annotations

import math

import numpy as np
import pytest

from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.agreement import Agreement, compare, measured, neighbour_agreement


def vectors(*rows: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(rows, dtype=np.float32)


def test_equal_vectors_agree_fully() -> None:
    some = vectors([1, 2, 3], [0, 0, 1])
    found = compare(some, some)
    assert found.minimum_cosine == pytest.approx(1)
    assert found.mean_cosine == pytest.approx(1)
    assert (found.largest_difference, found.length_ratio) == (0, 1)
    assert found.reaches(0.9999999)


def test_the_worst_text_is_named() -> None:
    found = compare(vectors([1, 0], [1, 0], [1, 0]), vectors([1, 0], [0, 1], [1, 1]))
    assert found.worst == 1
    assert found.minimum_cosine == pytest.approx(0)
    assert found.mean_cosine == pytest.approx((1 + 0 + math.sqrt(0.5)) / 3)
    assert found.cosines == pytest.approx((1, 0, math.sqrt(0.5)))
    assert found.largest_difference == 1
    assert not found.reaches(0.1)


def test_a_vector_of_another_length_is_another_vector_although_its_cosine_is_one() -> None:
    """A normalisation that is missing or new."""
    for factor in (0.1, 10.0):
        found = compare(vectors([3, 4], [1, 0]), vectors([3, 4], [factor, 0]))
        assert found.minimum_cosine == pytest.approx(1)
        assert found.length_ratio == pytest.approx(factor)
        assert not found.reaches(0.5)
    assert compare(vectors([3, 4]), vectors([3.1, 4.1])).reaches(0.99)


def test_vectors_of_zeros_agree_with_each_other_only() -> None:
    zeros, some = vectors([0, 0]), vectors([1, 0])
    assert compare(zeros, zeros).reaches(1.0)
    assert compare(zeros, some).minimum_cosine == 0
    assert not compare(zeros, some).reaches(0.0)
    assert compare(some, zeros).minimum_cosine == 0
    assert not compare(some, zeros).reaches(0.0)


def test_numbers_that_are_none_never_agree() -> None:
    found = compare(vectors([1, 0], [1, 0]), vectors([1, 0], [math.nan, 0]))
    assert math.isnan(found.minimum_cosine)
    assert found.worst == 1
    assert not found.reaches(-1.0)


def test_an_agreement_is_one_line_with_every_figure() -> None:
    line = str(compare(vectors([1, 0]), vectors([1, 0.5])))
    assert line == (
        "cosine at least 0.894427 and 0.894427 on average, length 1.118 of the reference, largest difference 0.5"
    )


def test_neighbours() -> None:
    angles = np.linspace(0, 3, 40)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert neighbour_agreement(circle, circle) == 1.0
    # Lengths have no part in it.
    assert neighbour_agreement(circle, circle * np.linspace(1, 9, 40, dtype=np.float32)[:, np.newaxis]) == 1.0
    shuffled = circle[np.random.default_rng(5).permutation(40)]
    assert 0.05 < neighbour_agreement(circle, shuffled) < 0.6


def test_what_is_recorded_is_never_better_than_what_was_measured() -> None:
    agreement = Agreement(
        minimum_cosine=0.9765499,
        mean_cosine=0.98999999,
        largest_difference=0.0123,
        length_ratio=1.0,
        worst=0,
        cosines=(0.9765499, 1.0),
    )
    assert measured(agreement, 0.84499) == Accuracy(
        minimum_cosine=0.97654,
        mean_cosine=0.98999,
        largest_difference=0.02,
        neighbour_agreement=0.844,
        cosines=(0.97654, 1.0),
    )


def test_what_is_recorded_is_at_most_one_and_at_least_the_smallest_step() -> None:
    def one(cosine: float, difference: float) -> Accuracy:
        agreement = Agreement(
            minimum_cosine=cosine, mean_cosine=cosine, largest_difference=difference, length_ratio=1, worst=0
        )
        return measured(agreement, 1.0)

    assert one(1.0000001, 0.0) == Accuracy(
        minimum_cosine=1.0, mean_cosine=1.0, largest_difference=0.0, neighbour_agreement=1.0
    )
    assert one(-0.5, 3e-12).largest_difference == 1e-9
