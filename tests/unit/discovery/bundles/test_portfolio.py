"""Portfolios: constraints hold for every choice, and the front is near the exact one where that can be computed."""

import numpy as np
import pytest

from data.errors import InputError
from discovery.bundles.config import SearchConfig
from discovery.bundles.evolve import Box, evolve, greedy_front, non_dominated
from discovery.bundles.exact import check_feasible, solve
from discovery.bundles.portfolio import Portfolio


def problem(count: int = 14, objectives: int = 3, seed: int = 0, **keys: object) -> Portfolio:
    rng = np.random.default_rng(seed)
    values = rng.random((count, objectives))
    members = np.sort(np.stack([rng.choice(10, 2, replace=False) for _ in range(count)]), axis=1).astype(np.int32)
    given = {
        "values": values,
        "maximise": (True,) * (objectives - 1) + (False,),
        "additive": (False, *(True,) * (objectives - 1)),
        "members": members,
        "holding": rng.integers(0, 2**63, (count, 4), dtype=np.uint64) & rng.integers(0, 2**63, (count, 4), np.uint64),
        "baskets": 256,
        "most": 5,
        "item_at_most": 2,
        "spend": rng.random(count),
        "budget": 2.0,
    }
    return Portfolio(**{**given, **keys})  # type: ignore[arg-type]


def every_choice(count: int) -> np.ndarray:
    return (np.arange(1 << count)[:, None] >> np.arange(count) & 1).astype(bool)


def keeps(portfolio: Portfolio, choices: np.ndarray) -> np.ndarray:
    uses = np.zeros((len(choices), int(portfolio.members.max()) + 1))
    for column in range(portfolio.members.shape[1]):
        for item in range(uses.shape[1]):
            uses[:, item] += choices[:, portfolio.members[:, column] == item].sum(axis=1)
    number = choices.sum(axis=1)
    spent = choices @ portfolio.spend
    budget = np.inf if portfolio.budget is None else portfolio.budget + 1e-6
    good = (uses <= portfolio.item_at_most).all(axis=1) & (number <= portfolio.most) & (number >= portfolio.least)
    return good & (spent <= budget)


def test_repair_keeps_every_constraint_and_takes_nothing_in() -> None:
    portfolio = problem(30)
    rng = np.random.default_rng(1)
    choices = rng.random((500, 30)) < rng.random((500, 1))
    kept = portfolio.repair(choices, rng.random(choices.shape))
    assert (kept <= choices).all()
    assert keeps(portfolio, kept)[kept.any(axis=1)].all()
    already = kept[kept.any(axis=1)]
    np.testing.assert_array_equal(portfolio.repair(already, rng.random(already.shape)), already)


def test_objectives_of_a_batch_are_those_of_a_loop() -> None:
    portfolio = problem()
    choices = every_choice(14)[::37]
    found = portfolio.evaluate(choices)
    for choice, objectives in zip(choices, found, strict=True):
        bits = np.bitwise_or.reduce(portfolio.holding[choice], axis=0) if choice.any() else np.zeros(4, np.uint64)
        assert objectives[0] == pytest.approx(int(np.bitwise_count(bits).sum()) / 256)
        np.testing.assert_allclose(objectives[1:], portfolio.values[choice].sum(axis=0)[1:])


@pytest.mark.parametrize("seed", range(3))
def test_the_front_holds_98_percent_of_the_exact_hypervolume(seed: int) -> None:
    portfolio = problem(seed=seed)
    choices = every_choice(14)
    choices = choices[keeps(portfolio, choices)]
    objectives = portfolio.evaluate(choices)
    exact = objectives[non_dominated(objectives * portfolio.signs)]
    box = Box.around(portfolio, objectives)
    found = evolve(portfolio, SearchConfig(evaluations=4000, stall_generations=None, seed=seed))
    assert keeps(portfolio, found.choices).all()
    assert box.hypervolume(found.objectives) >= 0.98 * box.hypervolume(exact)
    assert found.evaluations <= 4100


def test_the_integer_programme_is_the_best_of_every_choice() -> None:
    portfolio = problem()
    worth = portfolio.values @ np.array([1.0, 0.5, -0.2])
    choices = every_choice(14)
    best = (choices[keeps(portfolio, choices)] @ worth).max()
    optimum = solve(portfolio, worth)
    assert optimum is not None and optimum.proven
    assert optimum.value == pytest.approx(best)
    greedy = portfolio.greedy(np.array([[0, 1.0, 0]]))
    assert keeps(portfolio, greedy).all()


def test_four_objectives_are_searched_by_nsga_iii() -> None:
    portfolio = problem(20, 4)
    found = evolve(portfolio, SearchConfig(evaluations=1500, population=40))
    assert len(found.choices) > 4 and keeps(portfolio, found.choices).all()


def test_equal_seeds_give_equal_fronts_and_a_stall_ends_the_search() -> None:
    portfolio = problem(10, item_at_most=5)
    config = SearchConfig(evaluations=20_000, stall_generations=5)
    one, two = evolve(portfolio, config), evolve(portfolio, config)
    np.testing.assert_array_equal(one.choices, two.choices)
    assert one.stopped_early and one.evaluations < 20_000
    greedy = greedy_front(portfolio, config)
    assert keeps(portfolio, greedy.choices).all()


def test_constraints_that_cannot_be_kept_are_named_with_the_nearest_that_can() -> None:
    check_feasible(problem(least=3))
    with pytest.raises(InputError, match=r"item_at_most 1 and 14 candidates; the nearest feasible at_least is 5"):
        check_feasible(problem(least=8, most=10, item_at_most=1, budget=None))
    spend = np.linspace(1, 2, 14)
    with pytest.raises(InputError, match=r"budget 2; the nearest feasible budget is 3\.2"):
        check_feasible(problem(least=3, item_at_most=14, spend=spend, budget=2.0))
    with pytest.raises(InputError, match="no candidate"):
        check_feasible(problem(values=np.empty((0, 3)), members=np.empty((0, 2), np.int32)))
