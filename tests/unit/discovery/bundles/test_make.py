"""From baskets to bundles: what was planted is found, faults of parts do not end the whole, bad input is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from data.baskets.clean import NO_PERIOD
from data.baskets.table import Market
from data.errors import InputError
from discovery.bundles.config import BundlesConfig, WordsConfig
from discovery.bundles.make import make_bundles
from discovery.bundles.objectives import Batch
from discovery.bundles.report import write_report
from discovery.bundles.sources import SOURCE_FUNCTIONS

NAMES = [f"item {n}" for n in range(20)]
PLANTED = [(0, 1), (2, 3), (4, 5)]


def shop(count: int = 1200, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    rows = [rng.choice(20, 3, replace=False).tolist() for _ in range(count)]
    for number, row in enumerate(rows):
        if number % 4 == 0:
            row.extend(PLANTED[number // 4 % 3])
    return rows


def market(**known: Any) -> Market:  # noqa: ANN401
    return Market.of_lists(shop(), NAMES, **known)


def config(**keys: Any) -> BundlesConfig:  # noqa: ANN401
    keys.setdefault("sources", ["itemsets", "pairs", "graph"])
    keys.setdefault("constraints", {"bundles": 3, "max_size": 2})
    keys.setdefault("search", {"evaluations": 800, "population": 40})
    return BundlesConfig.model_validate(keys)


PRICES = {"price": np.full(20, 10.0), "cost": np.full(20, 6.0)}


def test_what_was_planted_is_proposed_with_its_numbers(tmp_path: Path) -> None:
    made = make_bundles(market(**PRICES), None, config(weights={"reach": 3.0}), tmp_path)
    assert {tuple(b["item_names"]) for b in made["bundles"]} == {tuple(NAMES[i] for i in pair) for pair in PLANTED}
    first = made["bundles"][0]
    assert first["lift_low"] > 1.5
    assert f"in {first['held']} of 900 baskets" in first["reason"]
    assert 12 <= first["price"] <= first["list_price"]
    assert made["backtest"]["ratio"]["random pairs"]["ratio"] > 1.5
    assert sum(point["chosen"] for point in made["front"]) == 1
    feed = pl.read_parquet(tmp_path / "bundles.parquet")
    lines = [json.loads(line) for line in (tmp_path / "bundles.jsonl").read_text().splitlines()]
    assert (
        feed["bundle_id"].to_list()
        == [line["bundle_id"] for line in lines]
        == [b["bundle_id"] for b in made["bundles"]]
    )
    plan = json.loads((tmp_path / "experiment.json").read_text())
    assert all(bundle["baskets_a_group"] > 0 for bundle in plan["bundles"])


def test_candidates_hold_the_best_of_each_objective() -> None:
    limits = {"bundles": 3, "max_size": 2}
    few = make_bundles(market(**PRICES), None, config(candidates=8, constraints=limits))
    every = make_bundles(market(**PRICES), None, config(candidates=400, constraints=limits))
    for name in ("reach", "cross_sell", "margin"):
        best = max(candidate["objectives"][name] for candidate in every["candidates"])
        assert max(candidate["objectives"][name] for candidate in few["candidates"]) == best
    assert len(few["candidates"]) == 8


def test_reach_weighs_more_unless_weights_say_otherwise() -> None:
    def weights(**keys: Any) -> list[float]:  # noqa: ANN401
        return [o["weight"] for o in make_bundles(market(**PRICES), None, config(**keys))["objectives"]]

    assert weights() == [3.0, 1.0, 1.0]
    assert weights(weights={"reach": 1, "margin": 2}) == [1.0, 1.0, 2.0]


def test_the_report_names_every_bundle(tmp_path: Path) -> None:
    given = config()
    made = make_bundles(market(), None, given)
    write_report(made, given, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    for bundle in made["bundles"]:
        assert f"<title>{bundle['title']}</title>" in text
        assert bundle["reason"] in text
    assert "<script" not in text


@pytest.mark.parametrize(
    "flag", [{"parallel": False}, {"search": {"evaluations": 800, "population": 40, "exact": False}}]
)
def test_switches_change_the_time_and_not_the_bundles(flag: dict[str, Any]) -> None:
    one, other = (make_bundles(market(**PRICES), None, config(**keys)) for keys in ({}, flag))
    assert one["bundles"] == other["bundles"] and one["front"] == other["front"]


def test_a_source_that_fails_is_told_and_the_others_go_on() -> None:
    def fails(*_: object) -> Any:  # noqa: ANN401
        raise RuntimeError("no such file")

    given = config(sources=["itemsets", "text", "pairs"])
    made = make_bundles(market(), None, given, sources={**SOURCE_FUNCTIONS, "itemsets": fails})
    assert made["sources"]["by_source"]["itemsets"]["failed"] == "RuntimeError: no such file"
    assert "not embedded" in made["sources"]["by_source"]["text"]["failed"]
    assert len(made["bundles"]) == 3
    with pytest.raises(InputError, match="every source failed"):
        make_bundles(market(), None, config(sources=["text"]))


def test_names_that_are_near_are_complements_unless_of_one_category() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 16)).astype(np.float32)
    vectors[7] = vectors[6] + 1.2 * rng.standard_normal(16)
    vectors[9] = vectors[8] + 0.01 * rng.standard_normal(16)  # the same thing in another size
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = make_bundles(market(), vectors, config(sources=["text"], neighbours=3, min_lift=0, min_baskets=1))
    titles = {candidate["title"] for candidate in made["candidates"]}
    assert "item 6 + item 7" in titles and "item 8 + item 9" not in titles


def test_an_endpoint_that_is_down_leaves_the_templates() -> None:
    words = WordsConfig(url="http://127.0.0.1:9/v1", model="none", timeout_s=1)
    made = make_bundles(market(), None, config(words=words))
    assert made["words"] == "template" and "Connect" in made["words_failed"]
    assert made["bundles"][0]["reason"].startswith("Bought together")


def freshness(batch: Batch) -> np.ndarray:
    return -batch.members.max(axis=1).astype(np.float64)


def broken(batch: Batch) -> np.ndarray:
    return np.full(len(batch.members), np.nan)


def test_an_objective_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "shop_objectives", sys.modules[__name__])
    own = {"name": "freshness", "path": "shop_objectives:freshness"}
    made = make_bundles(market(), None, config(objectives=["reach", own]))
    assert set(made["bundles"][0]["objectives"]) == {"reach", "freshness"}
    with pytest.raises(InputError, match="values not finite"):
        make_bundles(market(), None, config(objectives=[{**own, "path": "shop_objectives:broken"}]))


def test_money_needs_prices_and_a_weight_its_objective() -> None:
    with pytest.raises(InputError, match="margin needs prices"):
        make_bundles(market(), None, config(objectives=["margin"]))
    shop_of_bread = replace(market(), categories=[["FOOD", "BREAD"]] * 20)
    for sold, said in ((shop_of_bread, "did you mean 'BREAD'"), (market(), "no product has a category")):
        with pytest.raises(InputError, match=f"no product is of 'BRAED'; {said}"):
            make_bundles(sold, None, config(constraints={"exclude_categories": ["BRAED"]}))
    with pytest.raises(ValidationError, match=r"weights\.reach"):
        config(weights={"reach": -1})
    with pytest.raises(InputError, match="weights names margin"):
        make_bundles(market(), None, config(weights={"margin": 1}))
    with pytest.raises(ValidationError, match="is no objective"):
        config(objectives=["profit"])
    with pytest.raises(ValidationError):
        config(min_support=0)
    with pytest.raises(ValidationError):
        config(min_support=1.5)


def test_items_without_a_price_are_in_no_bundle_and_unknown_stock_is_no_risk() -> None:
    price = np.full(20, 10.0)
    price[0] = np.nan
    made = make_bundles(market(price=price, cost=PRICES["cost"]), None, config(objectives=["margin", "stock_risk"]))
    assert all("item 0" not in c["title"].split(" + ") for c in made["candidates"])
    assert {c["objectives"]["stock_risk"] for c in made["candidates"]} == {0.0}


def test_stock_and_floors_leave_bundles_out_and_say_so() -> None:
    stock = np.full(20, 1e6)
    stock[2] = 0.0
    made = make_bundles(market(**PRICES, stock=stock), None, config())
    assert made["left_out"]["not enough stock"] > 0
    assert all("item 2" not in b["item_names"] for b in made["bundles"])
    dear = {"price": np.full(20, 10.0), "cost": np.full(20, 9.9)}
    with pytest.raises(InputError, match="no candidate keeps the constraints"):
        make_bundles(market(**dear), None, config())


def dated(count: int, undated: int) -> Market:
    known = market(**PRICES, stock=np.full(20, 100.0))
    periods = (np.arange(len(known.baskets)) * count // len(known.baskets)).astype(np.int32)
    periods[:undated] = NO_PERIOD
    return replace(known, periods=periods)


def test_a_basket_without_a_time_leaves_every_figure_of_a_period() -> None:
    made, whole = (make_bundles(dated(24, undated), None, config()) for undated in (1, 0))
    assert (made["periods"], made["backtest"]["split_by"]) == (whole["periods"], "period") == (18, "period")
    for ours, theirs in zip(made["bundles"], whole["bundles"], strict=True):
        assert ours["objectives"] == pytest.approx(theirs["objectives"])
        assert ours["cover_periods"] == theirs["cover_periods"]


def test_stock_lasts_by_what_a_period_sells_of_all_that_there_are() -> None:
    known = dated(24, 0)
    first = make_bundles(known, None, config())["bundles"][0]
    items = [known.ids.index(id_) for id_ in first["item_ids"]]
    assert first["cover_periods"] == pytest.approx(min(100.0 / (known.units[items] / 24)))


def test_an_item_that_stands_for_variants_says_so_in_every_name() -> None:
    variants = np.ones(20, np.int64)
    variants[0] = 3
    made = make_bundles(replace(market(**PRICES), variants=variants), None, config())
    shown = "item 0 (one of 3 variants)"
    bundle = next(bundle for bundle in made["bundles"] if "item 0" in bundle["item_ids"])
    assert bundle["item_names"] == [shown, "item 1"] and bundle["title"] == f"{shown} + item 1"
    assert bundle["title"] in [row["title"] for row in made["candidates"]]


def test_too_few_baskets_or_items_are_an_error() -> None:
    for rows in ([], [[0, 1]], [[n % 20] for n in range(500)]):
        with pytest.raises(InputError, match="items are in at least 5"):
            make_bundles(Market.of_lists(rows, NAMES), None, config())


@pytest.mark.parametrize("rows", [[[0, 1, 2]] * 100, [[0, n % 19 + 1] for n in range(400)]])
def test_baskets_all_alike_or_with_an_item_in_every_one_have_no_bundle_above_chance(rows: list[list[int]]) -> None:
    with pytest.raises(InputError, match="no candidate keeps"):
        make_bundles(Market.of_lists(rows, NAMES), None, config(sources=["itemsets", "pairs"]))


@pytest.mark.parametrize("phase", ["find_all", "choose_candidates", "evolve", "backtest", "write_feed", "write_plan"])
def test_a_job_that_is_killed_in_any_phase_gives_the_same_when_it_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    from discovery.bundles import make

    def killed(*_: object, **__: object) -> Any:  # noqa: ANN401
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(make, phase, killed)
        with pytest.raises(KeyboardInterrupt):
            make_bundles(market(), None, config(), tmp_path)
    made = make_bundles(market(), None, config(), tmp_path)
    lines = [json.loads(line)["bundle_id"] for line in (tmp_path / "bundles.jsonl").read_text().splitlines()]
    assert lines == [bundle["bundle_id"] for bundle in made["bundles"]]
    assert not list(tmp_path.glob(".*unfinished"))
