"""Cells of throughput: the count of operations, the ratios to the peers, and what misses a goal."""

from __future__ import annotations

import pytest

from bench.cells import OPERATIONS, cell_table, count_operations
from bench.results import throughput
from tests.bench.runs import make_results, scaled, without


def row_of(lines: list[str], name: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_operations_are_those_of_the_products_with_weights_and_of_attention() -> None:
    config = {"hidden_size": 2, "intermediate_size": 8, "num_hidden_layers": 3}
    # For one token: four matrices of 2 x 2, two of 2 x 8, a multiplication and an addition each; and for each pair of
    # tokens, a score of 2 components and 2 components that are added up.
    alone = 3 * (2 * (4 * 4 + 2 * 16) + 4 * 2)
    assert count_operations(config, [1]) == alone
    assert count_operations(config, [1, 3]) == (alone + 3 * (2 * 48 * 3 + 8 * 9)) / 2


def test_each_cell_has_its_ratios_and_its_share_of_a_plain_product() -> None:
    assert row_of(cell_table(make_results()), "long, one caller, 8 calls") == ["2.18", "1.85", "2.29", "36%"]
    assert row_of(cell_table(make_results()), "short, one by one") == ["2.18", "1.85", "2.29", "12%"]


@pytest.mark.parametrize(("way", "row"), [("fastembed", 0), ("openvino", 1)])
def test_a_peer_that_is_nearly_as_fast_makes_a_bold_cell(way: str, row: int) -> None:
    metric = throughput("long", 8, 8)
    cells = row_of(cell_table(scaled(make_results(), f"mini/{way}", metric, 2)), "long, 8 threads")
    assert cells[row] == ("**1.09**" if way == "fastembed" else "**0.923**")
    assert "*" not in "".join(cells[:row] + cells[row + 1 :])


def test_int8_that_gains_little_is_bold() -> None:
    cells = row_of(
        cell_table(scaled(make_results(), "mini/onnx-int8", throughput("mixed", 1, 1), 0.5)), "mixed, one caller"
    )
    assert cells[2] == "**1.15**"


def test_what_was_not_measured_is_said() -> None:
    results = without(make_results(), "mini/openvino")
    results.settings[OPERATIONS] = {}
    assert row_of(cell_table(results), "short, 8 threads") == ["2.18", "failed", "2.29", "not measured"]
