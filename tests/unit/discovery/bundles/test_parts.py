"""The parts of bundles against plain loops and small worked examples."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from data.baskets.clean import NO_PERIOD
from data.baskets.grouping import SALES
from data.baskets.table import Baskets
from discovery.bundles import evidence as evidence_module
from discovery.bundles.backtest import backtest, split_baskets
from discovery.bundles.candidates import NO_ITEM, best_and_diverse, merge
from discovery.bundles.config import PriceConfig
from discovery.bundles.evidence import gather_evidence, holding
from discovery.bundles.outputs import sample_size
from discovery.bundles.prices import make_offers
from discovery.bundles.response import own_price_response
from discovery.bundles.sources import nearest_pairs, pair_counts, spectral_vectors
from discovery.bundles.words import reason, shown_name, times

BASKETS = Baskets.of_lists([[0, 1, 2], [0, 1], [0, 2], [1], [0, 1, 2, 3], [3]], 4)


def test_candidates_are_merged_by_content_with_all_their_sources() -> None:
    merged = merge([np.array([[1, 0], [2, 1]]), np.array([[0, 1, NO_ITEM], [2, 0, 1]])], [1, 4], 3)
    assert merged.members.tolist() == [[0, 1, -1], [0, 1, 2], [1, 2, -1]]
    assert merged.sources.tolist() == [5, 4, 1]
    assert merged.sizes.tolist() == [2, 3, 2]


def test_the_best_are_kept_and_no_item_is_in_too_many() -> None:
    members = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]], np.int32)
    kept = best_and_diverse(members, np.array([5.0, 4, 3, 2, 1]), 3, 2)
    assert kept.tolist() == [0, 1, 3]


def test_evidence_is_that_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [set(rng.integers(0, 12, rng.integers(0, 7)).tolist()) for _ in range(300)]
    baskets = Baskets.of_lists([sorted(row) for row in rows], 12)
    sets = [*combinations(range(6), 2), *combinations(range(5, 9), 3)]
    members = np.array([[*s, *[NO_ITEM] * (3 - len(s))] for s in sets], np.int32)
    for block, words in ((1 << 18, 1 << 21), (64, 3), (100, 1)):
        monkeypatch.setattr(evidence_module, "BASKETS_AT_ONCE", block)
        monkeypatch.setattr(evidence_module, "WORDS_AT_ONCE", words)
        found = gather_evidence(members, baskets, 0.0)
        for number, of in enumerate(sets):
            assert found.held[number] == sum(set(of) <= row for row in rows)
            for place, item in enumerate(of):
                others = set(of) - {item}
                assert found.lacking[number, place] == sum(others <= row and item not in row for row in rows)
    assert (found.lacking[: len(sets)][members == NO_ITEM] == 0).all()
    assert (found.lift_low <= found.held / found.expected).all() and (
        found.lift_high >= found.held / found.expected
    ).all()


def test_confidence_is_the_share_of_baskets_with_the_rest_drawn_towards_that_of_all() -> None:
    members = np.array([[0, 1, NO_ITEM], [0, 1, 2]], np.int32)
    plain = gather_evidence(members, BASKETS, 0.0).confidence
    np.testing.assert_allclose(plain, [[3 / 4, 3 / 4, 0], [2 / 2, 2 / 3, 2 / 3]])
    drawn = gather_evidence(members, BASKETS, 5.0).confidence
    share = 4 / 6  # of baskets that hold item 0
    assert drawn[0, 0] == pytest.approx(share * (3 + 5) / (4 * share + 5))


def test_bits_of_holding_are_the_baskets() -> None:
    held = holding(np.array([[0, 1, NO_ITEM], [0, 1, 2]], np.int32), BASKETS)
    flags = np.unpackbits(held.view(np.uint8), axis=1, bitorder="little")[:, :6]
    assert flags.tolist() == [[1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0]]


def test_pairs_are_counted_once() -> None:
    first, second, counts = pair_counts(BASKETS, 2)
    assert list(zip(first, second, counts, strict=True)) == [(0, 1, 3), (0, 2, 3), (1, 2, 2)]
    assert len(pair_counts(Baskets.of_lists([], 4), 1)[0]) == 0


def offers_of(config: PriceConfig, price: list[float], cost: list[float], held: int = 0, elasticity: float = -1.5):  # noqa: ANN201
    baskets = Baskets.of_lists([[0]] * 40 + [[1]] * 40 + [[0, 1]] * held, 2)
    members = np.array([[0, 1]], np.int32)
    found = gather_evidence(members, baskets, 5.0)
    return make_offers(members, found, np.array(price), np.array(cost), np.full(2, elasticity), 4, config)


def test_prices_keep_cost_and_floor_and_say_so_where_they_cannot() -> None:
    config = PriceConfig(min_discount=0.05, max_discount=0.4, margin_floor=0.1)
    offer = offers_of(config, [10.0, 10.0], [8.0, 8.0], elasticity=-6)
    assert offer.allowed[0] and offer.price[0] >= 16 / 0.9 - 1e-9
    none = offers_of(config, [10.0, 10.0], [9.5, 9.5])
    assert not none.allowed[0]
    unknown = offers_of(config, [10.0, np.nan], [8.0, np.nan])
    assert unknown.allowed[0] and np.isnan(unknown.price[0])


def test_the_discount_is_the_one_of_the_largest_gain() -> None:
    config = PriceConfig(min_discount=0.0, max_discount=0.3, margin_floor=0.0, step=0.05)
    tried = [
        offers_of(config.model_copy(update={"min_discount": d, "max_discount": d}), [10, 10], [2, 2], 3, -5).gain[0]
        for d in np.arange(0, 0.31, 0.05)
    ]
    best = offers_of(config, [10, 10], [2, 2], 3, -5)
    assert best.gain[0] == pytest.approx(max(tried))
    assert best.discount[0] > 0, "people who answer to prices are worth a discount"
    assert offers_of(config, [10, 10], [8, 8], 30, -1).discount[0] == 0, "a discount would only be given away"


def test_baskets_that_lack_an_item_take_it_as_others_hold_it_only_less() -> None:
    config = PriceConfig(max_discount=0.0, uptake=0.4)
    offer = offers_of(config, [10.0, 10.0], [5.0, 5.0], held=10)
    confidence = 50 / 90 * (10 + 5) / (50 * 50 / 90 + 5)
    np.testing.assert_allclose(offer.added, [[40 * 0.4 * confidence / 4] * 2])  # four periods
    assert offer.gain[0] == pytest.approx(offer.added.sum() * 5)


def test_a_list_price_is_in_whole_cents_so_that_no_bundle_costs_more() -> None:
    offer = offers_of(PriceConfig(), [0.7458, 1.0004], [0.1, 0.1])
    assert offer.list_sum[0] == pytest.approx(1.75)
    assert offer.discount[0] >= 0


def test_prices_end_as_asked_where_the_floor_allows_it() -> None:
    config = PriceConfig(ending=0.99, min_discount=0.02, max_discount=0.3)
    assert round(float(offers_of(config, [10.3, 10.0], [2.0, 2.0]).price[0]) % 1, 2) == 0.99
    tight = offers_of(PriceConfig(ending=0.5, min_discount=0.1, max_discount=0.12), [1.0, 1.0], [0.2, 0.2])
    assert tight.price[0] == pytest.approx(1.8)


def test_an_ending_gives_nothing_away_where_the_list_price_earns_more() -> None:
    config = PriceConfig(ending=0.99, max_discount=0.3)
    offer = offers_of(config, [5.7, 1.0], [4.0, 0.5], held=40, elasticity=-1.0)
    assert offer.price[0] == pytest.approx(6.7) and offer.discount[0] == pytest.approx(0)
    eager = offers_of(config, [5.7, 1.0], [1.0, 0.2], held=2, elasticity=-6.0)
    assert (
        round(float(eager.price[0]) % 1, 2) == 0.99
        and eager.gain[0]
        > offers_of(
            config.model_copy(update={"max_discount": 0.0}), [5.7, 1.0], [1.0, 0.2], held=2, elasticity=-6.0
        ).gain[0]
    )


def facts_of(**changed: float) -> dict[str, float]:
    known = {"held": 20, "baskets": 1000, "items": 2, "lift": 1.5, "lift_low": 1.2, "lift_high": 1.9, "each_lift": 1.4}
    return {**known, **changed}


def test_reasons_say_no_more_than_the_baskets_do() -> None:
    assert reason(facts_of()) == (
        "Bought together in 20 of 1,000 baskets, 1.5 times as often as by chance (95%: 1.2 to 1.9)."
    )
    assert "too few to say whether by chance" in reason(facts_of(lift_low=0.8))
    assert "no more often than by chance" in reason(facts_of(lift=0.9, lift_low=0.7))
    assert "Not yet bought together" in reason(facts_of(held=0, lift=0.0))
    assert reason(facts_of(items=3, lift=123.4)) == (
        "Bought together in 20 of 1,000 baskets, each with the others at least 1.4 times as often as by chance."
    )


def sales_of(elasticity: float, noise: float) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    item, period = np.divmod(np.arange(2000), 40)
    ratio = np.where(rng.random(2000) < 0.4, rng.uniform(0.6, 0.95, 2000), 1.0)
    units = np.exp(item / 20 + elasticity * np.log(ratio) + noise * rng.standard_normal(2000))
    columns = {"baskets": units, "units": units, "priced_units": units, "revenue": units * ratio, "list_revenue": units}
    return pl.DataFrame({"item": item, "period": period, **columns}).cast(SALES)  # type: ignore[arg-type]


def test_the_response_to_promotions_is_found_and_a_default_stands_otherwise() -> None:
    found = own_price_response(sales_of(-2.5, 0.2), 50, -1.5)
    assert found.estimated and found.pooled == pytest.approx(-2.5, abs=0.15)
    assert np.abs(found.elasticity + 2.5).mean() < 0.4
    for sales in (sales_of(1.0, 0.2), sales_of(-2.5, 0.2).head(100), pl.DataFrame(schema=SALES)):
        default = own_price_response(sales, 50, -1.5)
        assert not default.estimated and (default.elasticity == -1.5).all()


def test_sales_without_a_time_are_no_period_of_the_response() -> None:
    sales = sales_of(-2.5, 0.2)
    undated = sales.filter(pl.col("period") == 0).with_columns(
        pl.lit(NO_PERIOD).cast(pl.Int32).alias("period"),
        *(pl.col(name) * 500 for name in ("units", "priced_units", "revenue", "list_revenue")),
    )
    assert (
        own_price_response(pl.concat([sales, undated]), 50, -1.5).pooled == own_price_response(sales, 50, -1.5).pooled
    )


def test_a_basket_without_a_time_is_mined_and_judges_nothing() -> None:
    split = split_baskets(np.array([NO_PERIOD, 1, 2, NO_PERIOD, 3, 4], np.int32), 0.25)
    assert (split.by, split.later.tolist()) == ("period", [False] * 5 + [True])
    split = split_baskets(np.array([7, NO_PERIOD] * 4, np.int32), 0.25)
    assert (split.by, split.later.sum()) == ("share", 2)


def test_names_say_that_they_stand_for_variants_and_ratios_are_written_out() -> None:
    assert [shown_name("TENT 2", 1), shown_name("Tent 2", 2)] == ["Tent 2", "Tent 2 (one of 2 variants)"]
    assert [times(ratio) for ratio in (0.9712, 1.021, 99.96, 352.4, 35_310)] == [
        "0.971",
        "1.02",
        "100",
        "352",
        "35,300",
    ]


def test_periods_split_by_time_and_baskets_without_time_by_share() -> None:
    split = split_baskets(np.array([1, 1, 2, 3, 4, 4], np.int32), 0.25)
    assert (split.by, split.later.tolist()) == ("period", [False] * 4 + [True] * 2)
    split = split_baskets(np.zeros(8, np.int32), 0.25)
    assert (split.by, split.later.sum()) == ("share", 2)
    assert split_baskets(np.zeros(8, np.int32), 0).by == "none"


def test_the_back_test_counts_baskets_that_hold_a_bundle() -> None:
    later = Baskets.of_lists([[0, 1], [0], [1, 2], [3], [0, 1, 2]], 5)
    earlier = Baskets.of_lists([[3, 4]] * 5 + [[0, 1]], 5)
    judged = backtest(np.array([[0, 1]], np.int32), earlier, later, np.arange(5, dtype=np.int32))
    assert judged["hit_rate"]["proposed"]["rate"] == pytest.approx(2 / 5)
    assert judged["hit_rate"]["top pairs by count"]["rate"] == 0
    assert judged["take_rate"]["proposed"]["rate"] == pytest.approx(2 / 4)
    assert judged["ratio"]["top pairs by count"]["ratio"] is None
    assert judged["ratio"]["best pairs in hindsight"]["ratio"] == pytest.approx(1.0)


def test_spectral_neighbours_are_items_of_one_group() -> None:
    import scipy.sparse as sp

    block = np.kron(np.eye(3), np.ones((5, 5))) - np.eye(15)
    vectors = spectral_vectors(sp.csr_array(block.astype(np.float32)), 4, 0)
    first, second, cosine = nearest_pairs(vectors, 3)
    assert (first // 5 == second // 5)[cosine > 0.5].all() and (cosine > 0.5).any()


def test_the_sample_size_is_that_of_the_textbook() -> None:
    assert sample_size(0.10, 0.12) == pytest.approx(3841, abs=5)
    assert sample_size(0.1, 0.1) is None
