"""Where order lines and products are, what their columns are called, and the rules of the cleaning."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.files import PATH
from data.sources.paths import find, stamp

OrderFormat = Literal["jsonl", "csv", "tsv", "parquet", "lists", "fimi"]

PRESETS: dict[str, dict[str, Any]] = {
    "shopify": {
        "basket": ["Name"],
        "product": "Lineitem sku",
        "quantity": "Lineitem quantity",
        "unit_price": "Lineitem price",
        "time": "Created at",
        "currency": "Currency",
        "status": "Financial Status",
    },
    "olist": {
        "basket": ["order_id"],
        "product": "product_id",
        "quantity": None,
        "unit_price": "price",
        "line": "order_item_id",
        "shipment": "seller_id",
        "time": "shipping_limit_date",
    },
    "completejourney": {
        "basket": ["household_id", "week"],
        "product": "product_id",
        "quantity": "quantity",
        "total": "sales_value",
        "discounts": ["retail_disc", "coupon_match_disc"],
        "period": "week",
    },
}
"""Columns of exports that many have: Shopify's orders, Olist's ``order_items``, completejourney's transactions."""


class OrderFiles(StageConfig):
    """Files of order lines, and what their columns are called; a key that is given goes before the preset's."""

    path: str = Field(description=PATH)
    format: OrderFormat | None = Field(
        None,
        description="jsonl, csv, tsv, parquet; lists (a basket a line, names by commas); fimi (numbers by blanks); by "
        "the file's name where unset, .dat is fimi",
    )
    preset: Literal["shopify", "olist", "completejourney"] | None = Field(None, description="columns of a known export")
    basket: list[str] = Field(["basket_id"], min_length=1, description="columns whose equal values make one basket")
    product: str = Field("product_id", description="column of the product")
    quantity: str | None = Field("quantity", description="column of the units; each line is one where null")
    unit_price: str | None = Field(None, description="column of the price of one unit")
    total: str | None = Field(None, description="column of what the line cost, where there is no unit_price")
    discounts: list[str] = Field([], description="columns of amounts taken off the line; added again, the list price")
    time: str | None = Field(
        None, description="column of the time, ISO 8601 from the year on; gives the period, a week"
    )
    period: str | None = Field(
        None, description="column of the period, a whole number that rises by one, such as a week"
    )
    line: str | None = Field(None, description="column that numbers the lines of a basket: equal ones are duplicates")
    shipment: str | None = Field(None, description="column of the shipment or seller; baskets with several are counted")
    currency: str | None = Field(None, description="column of the currency")
    status: str | None = Field(None, description="column of the order's status")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:  # noqa: ANN401 - what pydantic was given
        if isinstance(given, dict) and given.get("preset") in PRESETS:
            return {**PRESETS[given["preset"]], **given}
        return given

    def columns(self) -> list[str]:
        """Columns that are read, each once."""
        single = (self.product, self.quantity, self.unit_price, self.total, self.time, self.period, self.line)
        more = (self.shipment, self.currency, self.status)
        named = [*self.basket, *self.discounts, *(column for column in (*single, *more) if column)]
        return list(dict.fromkeys(named))


class ProductFiles(StageConfig):
    """Files of products, and what their columns are called."""

    path: str = Field(description=PATH)
    id: str = Field("id", description="column of the identity, as order lines name it")
    name: list[str] = Field(["name"], min_length=1, description="columns of the name, joined by a blank")
    category: list[str] = Field([], description="columns of the category path, the widest first")
    roll_up: list[str] = Field(
        [],
        description="columns whose equal values make one item of several products, such as variants: name and category "
        "of the first in the file, median of the prices and of the costs, sum of the stocks; none, each one",
    )
    price: str | None = Field(None, description="column of the list price; mean of the order lines where unset")
    cost: str | None = Field(None, description="column of the cost of one unit")
    stock: str | None = Field(None, description="column of the units in stock")
    exclude: dict[str, list[str]] = Field({}, description="column -> values of products that are in no bundle")

    def columns(self) -> list[str]:
        """Columns that are read, each once."""
        single = [column for column in (self.price, self.cost, self.stock) if column]
        return list(dict.fromkeys([self.id, *self.name, *self.category, *self.roll_up, *single, *self.exclude]))


class BasketsConfig(StageConfig):
    """Order lines to baskets."""

    execution: ClassVar[frozenset[str]] = frozenset({"strict"})

    orders: OrderFiles = Field(description="order lines")
    products: ProductFiles | None = Field(None, description="products; those of the order lines alone where unset")
    currency: str | None = Field(None, description="the currency that is kept; an error where unset and there are two")
    cancelled: list[str] = Field(
        ["cancelled", "canceled", "refunded", "voided", "unavailable"],
        description="values of status, in any case, of orders that are left out",
    )
    max_items: int = Field(
        1000, ge=2, le=100_000, description="items of a basket; of one with more, those sold most are kept"
    )
    strict: bool = Field(False, description="stop with an error at the first rejected line")

    def stamps(self) -> dict[str, str]:
        """Size and time of each file.

        Raises:
            InputError: if one is missing.
        """
        paths = [self.orders.path, *([self.products.path] if self.products else [])]
        try:
            return {str(file): stamp(file) for path in paths for file in find(path)}
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}", "Check that the file can be read.") from error
