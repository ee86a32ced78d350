"""Products, rolled up to the items that bundles are made of.

Shapes: I items, P products.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from data.baskets.columns import BASKET, ITEM, batches, format_of, local_files
from data.baskets.config import BasketsConfig, ProductFiles
from data.errors import InputError

EXCLUDED = -1
PRODUCT_COLUMNS = {"product": pl.String, "item": pl.Int32}
ITEM_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "name": pl.String,
    "category": pl.List(pl.String),
    "price": pl.Float64,
    "cost": pl.Float64,
    "stock": pl.Float64,
    "products": pl.UInt32,
    "variants": pl.UInt32,
}


def read_items(config: BasketsConfig) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """The items of a run, and which item each product is.

    Returns:
        Products, ``PRODUCT_COLUMNS``: item ``EXCLUDED`` for those that are in no bundle. Items by number,
        ``ITEM_COLUMNS``: prices, costs and stocks are null where they are not known. An item of several products has
        the name and category of the first, the median of their prices and of their costs, the sum of their stocks;
        ``variants`` is how many names they have. Counts: ``products``, ``items``, ``products_excluded``,
        ``duplicate_products``, ``invalid_prices``.

    Raises:
        InputError: if a file or column is missing, or there is no product.
    """
    if config.products is None:
        ids = _named_in(config)
        items = _empty_items(ids)
        products = pl.DataFrame({"product": ids, "item": range(len(ids))}, schema=PRODUCT_COLUMNS)
        return products, items, {"products": len(ids), "items": len(ids)}
    rows = pl.concat(list(_rows(config.products)), how="vertical_relaxed")
    if rows.is_empty():
        raise InputError(f"{config.products.path}: no product", "Give at least two products.")
    return _rolled_up(rows, config.products)


def _rows(files: ProductFiles) -> Iterator[pl.DataFrame]:
    for file in local_files(files.path):
        for batch in batches(file, format_of(file, None), files.columns()):
            yield batch.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String), pl.col(files.id).cast(pl.String))


def _rolled_up(rows: pl.DataFrame, files: ProductFiles) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    unique = rows.filter(pl.col(files.id).is_not_null()).unique(files.id, keep="first", maintain_order=True)
    rolled = [pl.col(column).cast(pl.String) for column in files.roll_up]
    key = pl.concat_str(rolled, separator=" / ") if rolled else pl.lit(None, pl.String)
    excluded = pl.any_horizontal(
        pl.lit(False), *(pl.col(column).cast(pl.String).is_in(values) for column, values in files.exclude.items())
    )
    path = [pl.col(column).cast(pl.String) for column in files.category]
    table = unique.select(
        product=pl.col(files.id),
        item_id=pl.coalesce(key, pl.col(files.id)),
        name=_name(files.name),
        category=pl.concat_list(path).list.drop_nulls() if path else pl.lit([], pl.List(pl.String)),
        excluded=excluded.fill_null(False),
        **{name: _amount(column) for name, column in _amounts(files).items()},
    )
    amounts = table.select("price", "cost", "stock")
    invalid = sum(int(((of < 0) | of.is_infinite()).sum()) for of in amounts)
    table = table.with_columns(
        pl.when(pl.col(name).is_finite() & (pl.col(name) > 0 if name != "stock" else pl.col(name) >= 0)).then(name)
        for name in ("price", "cost", "stock")
    )
    items = (
        table.filter(~pl.col("excluded"))
        .group_by("item_id", maintain_order=True)
        .agg(
            pl.col("name").first(),
            pl.col("category").first(),
            pl.col("price").median(),
            pl.col("cost").median(),
            pl.when(pl.col("stock").count() > 0).then(pl.col("stock").sum()).alias("stock"),
            pl.len().alias("products"),
            pl.col("name").n_unique().alias("variants"),
        )
        .rename({"item_id": "id"})
        .cast(ITEM_COLUMNS)  # type: ignore[arg-type]
    )
    if items.is_empty():
        raise InputError(f"{files.path}: every product is excluded", "Correct baskets.products.exclude.")
    number = items.select(item_id="id").with_row_index("item")
    products = table.join(number, "item_id", "left", maintain_order="left").select(
        "product",
        item=pl.when(pl.col("excluded")).then(EXCLUDED).otherwise(pl.col("item").cast(pl.Int32)).cast(pl.Int32),
    )
    counts = {
        "products": table.height,
        "items": items.height,
        "products_excluded": int(table["excluded"].sum()),
        "duplicate_products": rows.height - unique.height,
        "invalid_prices": invalid,
    }
    return products, items.with_columns(name=pl.coalesce(_not_blank("name"), "id")), counts


def _name(columns: Sequence[str]) -> pl.Expr:
    """Columns as one text; one that the next begins with is said once: YOGURT and YOGURT WITH FRUIT."""
    parts = [pl.col(column).cast(pl.String) for column in columns]
    kept = [
        pl.when(~following.str.starts_with(part).fill_null(False)).then(part)
        for part, following in zip(parts, [*parts[1:], pl.lit(None, pl.String)], strict=True)
    ]
    return pl.concat_str(kept, separator=" ", ignore_nulls=True)


def _amounts(files: ProductFiles) -> dict[str, str | None]:
    return {"price": files.price, "cost": files.cost, "stock": files.stock}


def _amount(column: str | None) -> pl.Expr:
    return pl.lit(None, pl.Float64) if column is None else pl.col(column).cast(pl.Float64, strict=False).fill_nan(None)


def _not_blank(column: str) -> pl.Expr:
    return pl.when(pl.col(column).str.strip_chars() != "").then(pl.col(column))


def _named_in(config: BasketsConfig) -> Sequence[str]:
    """Ids of the products that order lines name, sorted; they are read once for it."""
    found: set[str] = set()
    for file in local_files(config.orders.path):
        format_ = format_of(file, config.orders.format)
        listed = format_ in ("lists", "fimi")
        columns = [BASKET, ITEM] if listed else [config.orders.product]
        for batch in batches(file, format_, columns):
            names = batch[ITEM if listed else config.orders.product].cast(pl.String).unique().drop_nulls()
            found.update(name for name in names.to_list() if name.strip())
    if not found:
        raise InputError(f"{config.orders.path}: no order line names a product", "Check the file and its columns.")
    return sorted(found, key=lambda name: (len(name), name) if name.isdecimal() else (1 << 30, name))


def _empty_items(ids: Sequence[str]) -> pl.DataFrame:
    count = len(ids)
    none = pl.Series([None] * count, dtype=pl.Float64)
    return pl.DataFrame(
        {
            "id": ids,
            "name": ids,
            "category": [[] for _ in ids],
            "price": none,
            "cost": none,
            "stock": none,
            "products": [1] * count,
            "variants": [1] * count,
        },
        schema=ITEM_COLUMNS,
    )


def write_items(items: pl.DataFrame, folder: Path) -> None:
    """Write the table of items."""
    items.write_parquet(folder / "items.parquet")
