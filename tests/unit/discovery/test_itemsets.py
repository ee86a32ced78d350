"""Frequent itemsets and rules are those of mlxtend, whatever the baskets and however the work is shared."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.baskets.table import Baskets
from data.errors import InputError
from data.spread import Here
from discovery import projections as module
from discovery.association import benjamini_hochberg, co_occurrence_p_values, wilson_interval
from discovery.itemsets import frequent_itemsets
from discovery.rules import NO_ITEM, association_rules


def random_baskets(count: int, items: int, mean: float, seed: int) -> Baskets:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, items + 1) ** 0.7
    return Baskets.of_lists(
        [rng.choice(items, rng.poisson(mean), p=weights / weights.sum()).tolist() for _ in range(count)], items
    )


def by_mlxtend(baskets: Baskets, support: float, length: int) -> dict[tuple[int, ...], int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlxtend.frequent_patterns import fpgrowth

        frame = pd.DataFrame(baskets.matrix().toarray().astype(bool))
        found = fpgrowth(frame, min_support=support, max_len=length)
    counts = (found["support"] * len(baskets)).round().astype(int)
    return {tuple(sorted(row)): int(n) for row, n in zip(found["itemsets"], counts, strict=True)}


@pytest.mark.parametrize(
    ("count", "items", "mean", "support", "length"),
    [(400, 30, 4, 0.02, 4), (300, 12, 8, 0.05, 6), (500, 200, 3, 0.004, 3), (70, 8, 5, 0.3, 2), (64, 5, 3, 0.015, 5)],
)
def test_sets_and_counts_are_those_of_mlxtend(count: int, items: int, mean: float, support: float, length: int) -> None:
    for seed in range(3):
        baskets = random_baskets(count, items, mean, seed)
        assert frequent_itemsets(baskets, support, length).as_dict() == by_mlxtend(baskets, support, length)


class Reversed(Here):
    """Does the items in another order, as a cluster might."""

    def run(self, items: Any, make: Any, name: str, *rest: Any) -> Iterator[Any]:  # noqa: ANN401
        yield from super().run(list(items)[::-1], make, name)


def test_work_that_is_shared_gives_the_sets_of_one_process() -> None:
    baskets = random_baskets(400, 40, 6, 1)
    one, many = frequent_itemsets(baskets, 0.01, 4), frequent_itemsets(baskets, 0.01, 4, runner=Reversed())
    assert one.as_dict() == many.as_dict()
    for ours, theirs in zip(one.sets, many.sets, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_small_blocks_give_the_same_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    baskets = random_baskets(300, 15, 7, 2)
    whole = frequent_itemsets(baskets, 0.02, 5).as_dict()
    monkeypatch.setattr(module, "WORDS_AT_ONCE", 7)
    assert frequent_itemsets(baskets, 0.02, 5).as_dict() == whole


def test_degenerate_baskets() -> None:
    assert frequent_itemsets(Baskets.of_lists([], 3), 0.5).as_dict() == {}
    assert frequent_itemsets(Baskets.of_lists([[], []], 3), 0.5).as_dict() == {}
    one = frequent_itemsets(Baskets.of_lists([[2, 0, 2]], 3), 1.0).as_dict()
    assert one == {(0,): 1, (2,): 1, (0, 2): 1}
    alike = frequent_itemsets(Baskets.of_lists([[0, 1, 2]] * 50), 1.0, 3).as_dict()
    assert alike[(0, 1, 2)] == 50 and len(alike) == 7
    in_all = frequent_itemsets(Baskets.of_lists([[0, n % 3 + 1] for n in range(9)]), 0.3, 3).as_dict()
    assert in_all == {(0,): 9, (1,): 3, (2,): 3, (3,): 3, (0, 1): 3, (0, 2): 3, (0, 3): 3}


def test_a_basket_of_10000_items_is_cut_to_its_commonest_and_counted() -> None:
    baskets = Baskets.of_lists([list(range(10_000)), *([[0, 1]] * 4), [0, 2]])
    found = frequent_itemsets(baskets, 0.3, 3, max_items=2)
    assert found.baskets_cut == 1
    assert found.as_dict() == {(0,): 6, (1,): 5, (0, 1): 5}
    assert frequent_itemsets(baskets, 0.3, 2).baskets_cut == 0


@pytest.mark.parametrize("support", [0.0, -0.1, 1.01, float("nan")])
def test_a_support_that_is_no_share_is_an_error(support: float) -> None:
    with pytest.raises(InputError, match="above 0 and at most 1"):
        frequent_itemsets(Baskets.of_lists([[0, 1]]), support)


def test_rules_are_those_of_mlxtend() -> None:
    baskets = random_baskets(300, 10, 4, 3)
    found = frequent_itemsets(baskets, 0.03, 4)
    ours = association_rules(found, 0.2037)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlxtend.frequent_patterns import association_rules as theirs
        from mlxtend.frequent_patterns import fpgrowth

        frame = pd.DataFrame(baskets.matrix().toarray().astype(bool))
        wanted = theirs(fpgrowth(frame, 0.03, max_len=4), metric="confidence", min_threshold=0.2037)
    by_sides = {
        (
            frozenset(sets[(sets != NO_ITEM) & ~right].tolist()),
            frozenset(sets[(sets != NO_ITEM) & right].tolist()),
        ): n
        for n, (sets, right) in enumerate(zip(ours.sets, ours.consequent, strict=True))
    }
    assert len(by_sides) == len(wanted) > 100
    for row in wanted.itertuples():
        n = by_sides[row.antecedents, row.consequents]
        for name in ("support", "confidence", "lift", "leverage", "conviction"):
            assert getattr(ours, name)[n] == pytest.approx(getattr(row, name)), name
        assert ours.confidence_low[n] <= row.confidence <= ours.confidence_high[n]


def test_planted_rules_survive_the_corrections_and_chance_does_not() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(2, 30), 4, replace=False).tolist() for _ in range(1500)]
    for row in rows[:150]:
        row.extend([0, 1])
    rules = association_rules(frequent_itemsets(Baskets.of_lists(rows), 0.01, 2))
    planted = ((rules.sets == [0, 1]).all(axis=1)).astype(bool)
    assert planted.sum() == 2
    assert (rules.p_family[planted] < 1e-6).all()
    assert (rules.p_family[~planted] > 0.05).mean() > 0.99
    assert (rules.q_value <= rules.p_family + 1e-12).all()
    assert (np.diff(rules.lift) <= 0).all()


def test_no_sets_give_no_rules() -> None:
    assert len(association_rules(frequent_itemsets(Baskets.of_lists([[0], [1]]), 0.5))) == 0


def test_measures_against_known_values() -> None:
    low, high = wilson_interval([0, 5, 10], 10)
    np.testing.assert_allclose(low, [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1], atol=1e-4)
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.16 / 3, 0.16 / 3, 0.5])
    from scipy.stats import binom

    p = co_occurrence_p_values([3, 0, 10], [20, 20, 20], [30, 30, 30], 100)
    np.testing.assert_allclose(p, binom.sf([2, -1, 9], 30, 0.2), rtol=1e-9)
