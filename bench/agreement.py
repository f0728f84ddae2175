"""How far vectors agree: ``python -m bench.agreement REFERENCE.npy OTHER.npy`` prints the smallest cosine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from bench.output import show

if TYPE_CHECKING:
    from numpy.typing import NDArray


def smallest_cosine(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the smallest cosine between rows with the same index, both float32 of shape (n, d).

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != other.shape:
        raise ValueError(f"expected vectors of shape {reference.shape}, found {other.shape}")
    left, right = reference.astype(np.float64), other.astype(np.float64)
    products = np.einsum("nd,nd->n", left, right)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.min(products / lengths))


if __name__ == "__main__":
    first, second = (np.load(path, allow_pickle=False) for path in sys.argv[1:])
    show(repr(smallest_cosine(first, second)))
