from __future__ import annotations

from example_service.generation import keywords_of, sql_of
from example_service.workspace import SHOP, Column


def columns(*names: str) -> list[Column]:
    return [next(column for column in SHOP.columns if f"{column.table}.{column.name}" == name) for name in names]


def test_keywords_are_the_words_with_a_meaning_each_once_and_in_order() -> None:
    assert keywords_of("Which customers of Zürich, and which orders of customers?") == ["customers", "zürich", "orders"]


def test_tables_are_joined_where_the_workspace_says_how() -> None:
    assert sql_of(columns("customer.city", "orders.total"), SHOP) == (
        "SELECT customer.city, orders.total FROM customer, orders WHERE customer.customer_id = orders.customer_id"
    )


def test_one_table_needs_no_condition() -> None:
    assert sql_of(columns("product.price", "product.title"), SHOP) == (
        "SELECT product.price, product.title FROM product"
    )


def test_no_column_is_no_query() -> None:
    assert sql_of([], SHOP) is None
