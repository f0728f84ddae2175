"""The data that questions are answered with: columns, evidence, examples. A real service reads them from a database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and its meaning in words."""

    table: str
    name: str
    meaning: str

    @property
    def document(self) -> str:
        """The text that is indexed for the column."""
        return f"{self.name.replace('_', ' ')} of {self.table.replace('_', ' ')}: {self.meaning}"


@dataclass(frozen=True, slots=True)
class Example:
    """A question that was answered before, and its correct query."""

    question: str
    sql: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """Facts about one database.

    Attributes:
        columns: All columns, table by table.
        joins: How two tables are joined, by their names in either order.
        evidence: Business rules, one sentence each.
        examples: Questions that were answered before.
    """

    columns: tuple[Column, ...]
    joins: dict[tuple[str, str], str]
    evidence: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


SHOP = Workspace(
    columns=(
        Column("customer", "customer_id", "number of the customer"),
        Column("customer", "first_name", "given name of the person"),
        Column("customer", "last_name", "family name of the person"),
        Column("customer", "email", "electronic mail address"),
        Column("customer", "city", "town where the customer lives"),
        Column("customer", "country", "country where the customer lives"),
        Column("customer", "birth_date", "day on which the customer was born"),
        Column("customer", "registered_at", "when the customer signed up"),
        Column("product", "product_id", "number of the product"),
        Column("product", "title", "name of the product"),
        Column("product", "category", "kind of product, such as books or music"),
        Column("product", "price", "what one piece costs, in euro"),
        Column("product", "weight", "weight of one piece, in kilograms"),
        Column("product", "in_stock", "pieces in the warehouse"),
        Column("orders", "order_id", "number of the order"),
        Column("orders", "customer_id", "the customer who ordered"),
        Column("orders", "ordered_at", "date of the purchase"),
        Column("orders", "shipped_at", "date on which the parcel left"),
        Column("orders", "status", "open, paid, shipped or returned"),
        Column("orders", "total", "amount of money paid, in euro"),
        Column("order_line", "order_id", "the order to which the line belongs"),
        Column("order_line", "product_id", "the product that was bought"),
        Column("order_line", "quantity", "how many pieces were bought"),
        Column("order_line", "discount", "reduction of the price, in percent"),
    ),
    joins={
        ("customer", "orders"): "customer.customer_id = orders.customer_id",
        ("orders", "order_line"): "orders.order_id = order_line.order_id",
        ("order_line", "product"): "order_line.product_id = product.product_id",
    },
    evidence=(
        "A good customer has paid for more than ten orders.",
        "Turnover is the sum of the totals of all orders that were paid or shipped.",
        "An order is late when it was shipped more than three days after the purchase.",
        "A product is sold out when no piece is left in the warehouse.",
        "Returned orders do not count in any statistics.",
        "Prices and totals are in euro, taxes included.",
        "Adults are customers who were born more than eighteen years ago.",
    ),
    examples=(
        Example(
            "How many customers live in each city?",
            "SELECT customer.city, COUNT(*) FROM customer GROUP BY customer.city",
        ),
        Example(
            "What is the turnover of last year?",
            "SELECT SUM(orders.total) FROM orders WHERE orders.status IN ('paid', 'shipped')",
        ),
        Example("Which products are sold out?", "SELECT product.title FROM product WHERE product.in_stock = 0"),
    ),
)

WORKSPACES = {1: SHOP}
"""Predefined workspaces, by number."""
