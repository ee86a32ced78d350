"""Order lines become baskets: formats, rules of the cleaning, rejects, bounded partitions."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from data.baskets import mapping
from data.baskets.config import BasketsConfig, OrderFiles, ProductFiles
from data.baskets.mapping import map_baskets
from data.baskets.table import Market
from data.errors import InputError
from data.spread import Here

LINES = [
    {"basket_id": "a", "product_id": "p1", "quantity": 1, "price": 2.0},
    {"basket_id": "a", "product_id": "p2", "quantity": 2, "price": 3.0},
    {"basket_id": "b", "product_id": "p1", "quantity": 1, "price": 2.0},
    {"basket_id": "b", "product_id": "p3", "quantity": 1, "price": 5.0},
]
PRODUCTS = pl.DataFrame({"id": ["p1", "p2", "p3"], "name": ["Tea", "Cup", "Pot"], "kind": ["x", "y", "y"]})


def written(folder: Path, lines: list[dict[str, Any]], ending: str) -> str:
    path = folder / f"lines.{ending}"
    frame = pl.DataFrame(lines, infer_schema_length=None)
    match ending:
        case "parquet":
            frame.write_parquet(path)
        case "csv":
            frame.write_csv(path)
        case "tsv":
            frame.write_csv(path, separator="\t")
        case _:
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def mapped(folder: Path, lines: list[dict[str, Any]], ending: str = "parquet", **keys: Any) -> tuple[Any, Market]:  # noqa: ANN401
    columns = keys.pop("columns", {"unit_price": "price"})
    products = folder / "products.parquet"
    keys.pop("table", PRODUCTS).write_parquet(products)
    known = keys.pop("products", ProductFiles(path=str(products)))
    config = BasketsConfig(orders=OrderFiles(path=written(folder, lines, ending), **columns), products=known, **keys)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return map_baskets(config, out), Market.open(out)


def contents(market: Market) -> set[tuple[str, ...]]:
    baskets = market.baskets
    rows = np.split(baskets.items, baskets.indptr[1:-1])
    return {tuple(market.names[item] for item in row) for row in rows}


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl"])
def test_every_format_gives_the_same_baskets_and_prices(tmp_path: Path, ending: str) -> None:
    result, market = mapped(tmp_path, LINES, ending)
    assert contents(market) == {("Tea", "Cup"), ("Tea", "Pot")}
    assert (result["lines"], result["baskets"], result["pairs"], result["rejects"]) == (4, 2, 4, 0)
    np.testing.assert_allclose(market.price, [2, 3, 5])
    np.testing.assert_allclose(market.units, [2, 2, 1])


def test_lists_and_numbers_by_blanks_are_baskets(tmp_path: Path) -> None:
    (tmp_path / "lists.csv").write_text("milk,bread \nmilk\nbread,eggs,milk\n")
    (tmp_path / "n.dat").write_text("3 1 \n1 \n2 3 1\n")
    for name, format_, expected in (
        ("lists.csv", "lists", {("bread", "milk"), ("milk",), ("bread", "eggs", "milk")}),
        ("n.dat", None, {("1", "3"), ("1",), ("1", "2", "3")}),
    ):
        out = tmp_path / f"out-{name}"
        out.mkdir()
        map_baskets(BasketsConfig(orders=OrderFiles(path=str(tmp_path / name), format=format_)), out)
        assert contents(Market.open(out)) == expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"product_id": "nobody"}, "unknown product"),
        ({"product_id": None}, "no product"),
        ({"basket_id": None}, "no basket"),
        ({"basket_id": " "}, "no basket"),
        ({"quantity": 0}, "quantity is 0"),
        ({"quantity": -1}, "return: the quantity is below 0"),
        ({"quantity": "many"}, "quantity is not a number"),
        ({"price": -2.0}, "price is below 0"),
        ({"price": "dear"}, "price is not a number"),
        ({"price": 1e39}, "price is not a number"),
        ({"quantity": ""}, "quantity is not a number"),
    ],
)
def test_a_bad_line_is_rejected_with_its_place_and_the_others_stay(
    tmp_path: Path, bad: dict[str, Any], reason: str
) -> None:
    result, market = mapped(tmp_path, [*LINES, {**LINES[0], **bad}], "jsonl")
    assert result["reject_reasons"] == {reason: 1}
    assert contents(market) == {("Tea", "Cup"), ("Tea", "Pot")}
    rejects = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert rejects["row"].to_list() == [5] and rejects["file"][0].endswith("lines.jsonl")


@pytest.mark.parametrize(("ending", "line"), [("csv", 6), ("tsv", 6), ("jsonl", 5), ("parquet", 5)])
def test_a_reject_is_found_at_its_line_of_the_file(tmp_path: Path, ending: str, line: int) -> None:
    mapped(tmp_path, [*LINES, {**LINES[0], "quantity": 0}], ending)
    assert pl.read_parquet(tmp_path / "out" / "rejects.parquet")["row"].to_list() == [line]


def test_a_line_that_is_no_json_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"basket_id": "a", "product_id": "p"}\n{"basket_id"\n')
    out = tmp_path / "out"
    out.mkdir()
    columns = {"quantity": None}
    result = map_baskets(BasketsConfig(orders=OrderFiles(path=str(path), **columns)), out)
    assert (result["baskets"], result["reject_reasons"]) == (1, {"no basket": 1})


def test_rejects_are_logged_in_their_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mapped(tmp_path, [*LINES, {**LINES[0], "quantity": 0}, *[{**LINES[0], "quantity": -1}] * 2])
    assert "baskets: 1 line rejected: quantity is 0" in caplog.text
    assert "baskets: 2 lines rejected: return" in caplog.text
    assert "rejects.parquet" in caplog.text


def test_strict_stops_at_the_first_reject(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 5: quantity is 0"):
        mapped(tmp_path, [*LINES, {**LINES[0], "quantity": 0}], strict=True)


def test_two_currencies_are_an_error_until_one_is_chosen(tmp_path: Path) -> None:
    lines = [{**line, "cur": "EUR"} for line in LINES] + [{**LINES[0], "cur": "USD"}]
    columns = {"unit_price": "price", "currency": "cur"}
    with pytest.raises(InputError, match=r"several currencies: EUR \(4 lines\), USD \(1 line\)"):
        mapped(tmp_path, lines, columns=columns)
    result, _ = mapped(tmp_path, lines, columns=columns, currency="EUR")
    assert result["reject_reasons"] == {"another currency": 1}
    with pytest.raises(InputError, match="no line is in GBP"):
        mapped(tmp_path, lines, columns=columns, currency="GBP")


def test_rules_are_counted(tmp_path: Path) -> None:
    lines = [{**line, "line": n, "status": "paid", "seller": "s1"} for n, line in enumerate(LINES)]
    twice, again = dict(lines[0]), {**lines[0], "line": 9, "seller": "s2"}
    cancelled = {**lines[0], "basket_id": "c", "status": "Cancelled"}
    columns = {"unit_price": "price", "line": "line", "status": "status", "shipment": "seller"}
    result, market = mapped(tmp_path, [*lines, twice, again, cancelled], columns=columns)
    assert contents(market) == {("Tea", "Cup"), ("Tea", "Pot")}
    wanted = {
        "duplicate_lines": 1,
        "lines_merged": 1,
        "cancelled_baskets": 1,
        "cancelled_lines": 1,
        "split_shipments": 1,
    }
    assert {key: result[key] for key in wanted} == wanted
    assert market.units[0] == 3


def test_missing_and_zero_prices_are_unknown_not_free(tmp_path: Path) -> None:
    lines = [*LINES[:2], {**LINES[2], "price": None}, {**LINES[3], "price": 0.0}]
    result, market = mapped(tmp_path, lines)
    assert (result["without_price"], result["price_of_0"]) == (1, 1)
    np.testing.assert_allclose(market.price, [2, 3, np.nan])


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("empty", ["", "NaN", "n/a", None])
def test_an_empty_price_is_counted_in_every_format(tmp_path: Path, ending: str, empty: str | None) -> None:
    lines = [{**line, "price": str(line["price"])} for line in LINES[:3]]
    result, market = mapped(tmp_path, [*lines, {**LINES[3], "price": empty}], ending)
    assert (result["without_price"], result["rejects"]) == (1, 0)
    np.testing.assert_allclose(market.price, [2, 3, np.nan])


def test_a_price_that_is_no_number_in_parquet_is_empty(tmp_path: Path) -> None:
    assert mapped(tmp_path, [*LINES[:3], {**LINES[3], "price": np.nan}])[0]["without_price"] == 1


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("sometime", "time is not a time (YYYY-MM-DD first)"),
        ("1767225600", "time is not a time (YYYY-MM-DD first)"),
        ("9999-12-31", "time is before 1971 or over a year ahead"),
        ("0001-01-01", "time is before 1971 or over a year ahead"),
        ("1970-01-01T00:00:00Z", "time is before 1971 or over a year ahead"),
    ],
)
def test_one_bad_time_is_a_reject_and_no_period(tmp_path: Path, ending: str, time: str, reason: str) -> None:
    lines = [{**line, "day": f"2026-01-{7 * n + 1:02}T10:00:00Z"} for n, line in enumerate(LINES)]
    columns = {"time": "day"}
    result, market = mapped(tmp_path, [*lines, {**LINES[0], "basket_id": "c", "day": time}], ending, columns=columns)
    assert result["reject_reasons"] == {reason: 1}
    assert (len(market.baskets), market.num_periods) == (2, 3)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_basket_without_a_time_is_counted_and_in_no_period(tmp_path: Path, ending: str) -> None:
    lines = [{**line, "day": "2026-01-01"} for line in LINES[:2]] + [
        {**line, "day": "2026-01-15"} for line in LINES[2:]
    ]
    empty = {**LINES[0], "basket_id": "c", "day": None if ending == "parquet" else ""}
    result, market = mapped(tmp_path, [*lines, empty], ending, columns={"time": "day"})
    assert (result["without_time"], result["rejects"], len(market.baskets), market.num_periods) == (1, 0, 3, 3)
    none, nothing = mapped(tmp_path, [{**line, "day": None} for line in LINES], columns={"time": "day"})
    assert (none["without_time"], nothing.num_periods) == (4, 1)


def test_times_of_parquet_are_dates_or_moments_and_no_numbers(tmp_path: Path) -> None:
    for kind in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1).date()):
        lines = [{**line, "day": kind + timedelta(days=7 * n)} for n, line in enumerate(LINES)]
        assert mapped(tmp_path, lines, columns={"time": "day"})[1].num_periods == 3
    with pytest.raises(
        InputError, match=r"no basket is left of 4 lines: time is not a time \(YYYY-MM-DD first\) \(4\)"
    ):
        mapped(tmp_path, [{**line, "day": 1_767_225_600} for line in LINES], columns={"time": "day"})


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_period_is_a_whole_number_however_it_is_written(tmp_path: Path, ending: str) -> None:
    lines = [{**line, "week": str(n + 1) if n % 2 else f"{n + 1}.0"} for n, line in enumerate(LINES)]
    for bad in ("spring", "1.5", "-2147483648", "1e12"):
        further = [*lines, {**LINES[0], "basket_id": "c", "week": bad}, {**LINES[0], "basket_id": "d", "week": None}]
        result, market = mapped(tmp_path, further, ending, columns={"period": "week"})
        assert (result["reject_reasons"], result["without_time"]) == ({"period is not a whole number": 1}, 1)
        assert (len(market.baskets), market.num_periods) == (3, 3)


def test_a_discount_that_is_no_number_is_a_reject_and_an_empty_one_is_none(tmp_path: Path) -> None:
    lines = [{**line, "off": off} for line, off in zip(LINES, ("1", "", "10%", "inf"), strict=True)]
    result, market = mapped(tmp_path, lines, "jsonl", columns={"unit_price": "price", "discounts": ["off"]})
    assert result["reject_reasons"] == {"discount is not a number": 2}
    np.testing.assert_allclose(market.price, [3, 3, np.nan])


def test_variants_are_rolled_up_and_products_left_out(tmp_path: Path) -> None:
    products = ProductFiles(path=str(tmp_path / "products.parquet"), roll_up=["kind"], category=["kind"])
    result, market = mapped(tmp_path, LINES, products=products)
    assert (result["products"], result["items"]) == (3, 2)
    assert contents(market) == {("Tea", "Cup")}
    assert market.categories == [["x"], ["y"]]
    excluded = products.model_copy(update={"exclude": {"id": ["p2"]}, "roll_up": []})
    result, market = mapped(tmp_path, LINES, products=excluded)
    assert (result["excluded"], contents(market)) == (1, {("Tea",), ("Tea", "Pot")})


def test_a_rolled_up_item_has_the_first_name_the_median_price_and_all_stock(tmp_path: Path) -> None:
    table = PRODUCTS.with_columns(
        price=pl.Series([np.nan, 249.0, 253.0]),
        cost=pl.Series(["inf", "90", "100"]),
        stock=pl.Series([np.nan, 2.0, 3.0]),
    )
    products = ProductFiles(
        path=str(tmp_path / "products.parquet"), roll_up=["kind"], price="price", cost="cost", stock="stock"
    )
    result, market = mapped(tmp_path, LINES, table=table, products=products)
    assert (market.names, market.variants.tolist(), result["invalid_prices"]) == (["Tea", "Cup"], [1, 2], 1)
    np.testing.assert_allclose([market.price, market.cost, market.stock], [[2, 251], [np.nan, 95], [np.nan, 5]])
    alike = table.with_columns(name=pl.lit("Ware"))
    assert mapped(tmp_path, LINES, table=alike, products=products)[1].variants.tolist() == [1, 1]


def test_a_column_that_the_next_begins_with_is_said_once(tmp_path: Path) -> None:
    table = PRODUCTS.with_columns(kind=pl.Series(["Te", None, "Cups"]), name=pl.Series(["Tea", "Pot", "Mug"]))
    table.write_parquet(tmp_path / "named.parquet")
    products = ProductFiles(path=str(tmp_path / "named.parquet"), name=["kind", "name"])
    assert mapped(tmp_path, LINES, products=products)[1].names[:3] == ["Tea", "Pot", "Cups Mug"]


def test_costs_stock_and_prices_of_products_go_before_means(tmp_path: Path) -> None:
    table = PRODUCTS.with_columns(
        price=pl.Series([9.0, -1.0, None]), cost=pl.Series(["4", "x", None]), stock=pl.Series([0.0, 7.0, None])
    )
    products = ProductFiles(path=str(tmp_path / "products.parquet"), price="price", cost="cost", stock="stock")
    result, market = mapped(tmp_path, LINES, table=table, products=products)
    np.testing.assert_allclose(market.price, [9, 3, 5])
    np.testing.assert_allclose(market.cost, [4, np.nan, np.nan])
    np.testing.assert_allclose(market.stock, [0, 7, np.nan])
    assert result["invalid_prices"] == 1


def test_list_prices_come_of_what_was_paid_and_taken_off(tmp_path: Path) -> None:
    lines = [{**line, "paid": 4.0, "off": 1.0, "quantity": 2} for line in LINES]
    _, market = mapped(tmp_path, lines, columns={"total": "paid", "discounts": ["off"]})
    np.testing.assert_allclose(market.price, [2.5, 2.5, 2.5])


def test_a_basket_above_the_cap_keeps_what_most_have(tmp_path: Path) -> None:
    (tmp_path / "n.dat").write_text("1 2 3 4\n1 2\n1 3\n")
    out = tmp_path / "out"
    out.mkdir()
    result = map_baskets(BasketsConfig(orders=OrderFiles(path=str(tmp_path / "n.dat")), max_items=3), out)
    assert result["baskets_cut"] == 1
    assert contents(Market.open(out)) == {("1", "2", "3"), ("1", "2"), ("1", "3")}


def test_many_partitions_give_the_baskets_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lines = [
        {"basket_id": f"b{rng.integers(300)}", "product_id": f"p{rng.integers(1, 4)}", "quantity": 1, "price": 1.0}
        for _ in range(2000)
    ]
    one, whole = mapped(tmp_path, lines)
    monkeypatch.setattr(mapping, "LINES_OF_PARTITION", 100)
    many, parts = mapped(tmp_path, lines)
    assert one == many
    assert whole.baskets.counts.tolist() == parts.baskets.counts.tolist()
    assert whole.sales.equals(parts.sales)


def test_a_killed_job_starts_again_and_leaves_no_line_twice(tmp_path: Path) -> None:
    class Dies(Here):
        def run(self, items: Any, make: Any, name: str, *rest: Any) -> Any:  # noqa: ANN401
            if name == "group":
                raise KeyboardInterrupt
            yield from super().run(items, make, name)

    config = BasketsConfig(orders=OrderFiles(path=written(tmp_path, LINES, "parquet"), unit_price="price"))
    out = tmp_path / "killed"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        map_baskets(config, out, Dies())
    result = map_baskets(config, out)
    assert (result["lines"], result["pairs"]) == (4, 4)
    assert not (out / "landed").exists()


def test_empty_orders_and_missing_columns_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("basket_id,product_id,quantity\n")
    config = BasketsConfig(orders=OrderFiles(path=str(tmp_path / "empty.csv")))
    with pytest.raises(InputError, match="no order line names a product"):
        map_baskets(config, tmp_path)
    with pytest.raises(InputError, match="no column 'prise'; did you mean 'price'"):
        mapped(tmp_path, LINES, "csv", columns={"unit_price": "prise"})
    with pytest.raises(InputError, match=r"no basket is left of 4 lines: unknown product \(4\)\n"):
        mapped(tmp_path, [{**line, "product_id": "q"} for line in LINES])
    with pytest.raises(InputError, match=r"no basket is left of 4 lines: product that is left out \(4\)\n"):
        left_out = ProductFiles(path=str(tmp_path / "products.parquet"), exclude={"id": ["p2", "p3"]})
        mapped(tmp_path, [{**line, "product_id": "p2"} for line in LINES], products=left_out)
    empty = BasketsConfig(orders=config.orders, products=ProductFiles(path=str(tmp_path / "products.parquet")))
    with pytest.raises(InputError, match=r"empty\.csv: no order line\n"):
        map_baskets(empty, tmp_path)


def test_presets_name_the_columns_of_known_exports() -> None:
    shopify = OrderFiles(path="-", preset="shopify", product="Lineitem name")
    assert (shopify.basket, shopify.product, shopify.unit_price) == (["Name"], "Lineitem name", "Lineitem price")
    olist = OrderFiles(path="-", preset="olist")
    assert (olist.quantity, olist.line) == (None, "order_item_id")
    with pytest.raises(ValidationError):
        OrderFiles.model_validate({"path": "-", "preset": "amazon"})
