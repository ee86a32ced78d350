"""Evolution of portfolios: NSGA-II (Deb et al., 2002), above three objectives NSGA-III (Deb and Jain, 2014), by pymoo.

A whole population is evaluated and repaired at once. The first generation holds greedy choices under random weights.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from discovery.bundles.config import SearchConfig
from discovery.bundles.portfolio import Choices, Portfolio, Values

GREEDY_SHARE = 0.3  # of the first generation
STALL = 1e-3  # growth of hypervolume that is none


@dataclass(frozen=True)
class Front:
    """Portfolios none of which is better than another in all objectives.

    Attributes:
        choices: bool (F, C).
        objectives: float64 (F, M), in their own units.
        evaluations: portfolios that were evaluated.
        generations: of the evolution.
        hypervolume: share of the box between the worst and the best that the front dominates.
        stopped_early: whether hypervolume stalled.
        seconds: of the search.
    """

    choices: Choices
    objectives: Values
    evaluations: int
    generations: int
    hypervolume: float
    stopped_early: bool
    seconds: float


def evolve(portfolio: Portfolio, config: SearchConfig) -> Front:
    """Search the front of a portfolio; equal seeds give equal fronts."""
    from pymoo.core.evaluator import Evaluator

    started = time.perf_counter()
    rng = np.random.default_rng(config.seed)
    first = first_generation(portfolio, config, rng)
    algorithm = _algorithm(portfolio, config, first, rng)
    evaluator = Evaluator()
    box = Box.around(portfolio, portfolio.evaluate(first))
    best, since, stopped = 0.0, 0, False
    algorithm.setup(
        _problem(portfolio), termination=("n_eval", config.evaluations), seed=config.seed, evaluator=evaluator
    )
    while algorithm.has_next():
        algorithm.next()
        if config.stall_generations is not None:
            volume = box.hypervolume(-algorithm.pop.get("F") * portfolio.signs)
            since = 0 if volume > best * (1 + STALL) else since + 1
            best = max(best, volume)
            if since >= config.stall_generations:
                stopped = True
                break
    choices = np.concatenate([algorithm.pop.get("X").astype(bool), first])
    choices = np.unique(portfolio.repair(choices, rng.random(choices.shape)), axis=0)
    choices = choices[choices.sum(axis=1) >= portfolio.least]
    objectives = portfolio.evaluate(choices)
    kept = non_dominated(objectives * portfolio.signs)
    order = np.argsort(-(objectives[kept, 0] * portfolio.signs[0]), kind="stable")
    front = kept[order]
    return Front(
        choices[front],
        objectives[front],
        int(evaluator.n_eval),
        int(algorithm.n_gen) - (0 if stopped else 1),
        box.hypervolume(objectives[front]),
        stopped,
        time.perf_counter() - started,
    )


def greedy_front(portfolio: Portfolio, config: SearchConfig) -> Front:
    """The front of greedy choices under random weights, as many as a generation has portfolios."""
    started = time.perf_counter()
    rng = np.random.default_rng(config.seed)
    choices = portfolio.greedy(random_weights(rng, config.population, portfolio.preference))
    choices = np.unique(choices, axis=0)
    choices = choices[choices.sum(axis=1) >= portfolio.least]
    objectives = portfolio.evaluate(choices)
    kept = non_dominated(objectives * portfolio.signs)
    front = kept[np.argsort(-(objectives[kept, 0] * portfolio.signs[0]), kind="stable")]
    box = Box.around(portfolio, objectives)
    volume = box.hypervolume(objectives[front])
    seconds = time.perf_counter() - started
    return Front(choices[front], objectives[front], len(choices), 0, volume, False, seconds)


def random_weights(rng: np.random.Generator, count: int, preference: Values) -> Values:
    """Weights that sum to 1, float64 (count, M): each objective alone, the preferred ones, then at random."""
    objectives = len(preference)
    drawn = rng.dirichlet(np.ones(objectives), max(count, objectives + 1))
    drawn[:objectives] = np.eye(objectives)
    drawn[objectives] = preference
    return drawn[:count]


def first_generation(portfolio: Portfolio, config: SearchConfig, rng: np.random.Generator) -> Choices:
    """Greedy choices, and random ones of all sizes; bool (population, C)."""
    greedy_count = max(portfolio.values.shape[1] + 1, int(GREEDY_SHARE * config.population))
    greedy_count = min(greedy_count, config.population)
    chosen = portfolio.greedy(random_weights(rng, greedy_count, portfolio.preference))
    left = config.population - greedy_count
    sizes = rng.integers(1, portfolio.most + 1, left)
    random = rng.random((left, len(portfolio))) < (sizes / len(portfolio))[:, None]
    random[np.arange(left), rng.integers(0, len(portfolio), left)] = True  # none is empty
    return np.concatenate([chosen, portfolio.repair(random, rng.random(random.shape))])


def non_dominated(better: Values) -> npt.NDArray[np.int64]:
    """Places of rows that no other row is at least as good as in all columns and better in one."""
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    if len(better) == 0:
        return np.empty(0, np.int64)
    return np.asarray(NonDominatedSorting().do(-better, only_non_dominated_front=True), np.int64)


@dataclass(frozen=True)
class Box:
    """The box that hypervolume is a share of: from the worst to the best, more is better."""

    worst: Values
    best: Values
    signs: Values

    @classmethod
    def around(cls, portfolio: Portfolio, objectives: Values) -> "Box":
        """From the worst of some choices to the best that each objective could be on its own."""
        signed = objectives * portfolio.signs
        alone = np.sort(portfolio.values * portfolio.signs, axis=0)[::-1][: portfolio.most]
        best = np.maximum(np.where(alone > 0, alone, 0.0).sum(axis=0), signed.max(axis=0))
        worst = signed.min(axis=0)
        return cls(np.minimum(worst, best - 1e-9 * np.maximum(1.0, np.abs(best))), best, portfolio.signs)

    def hypervolume(self, objectives: Values) -> float:
        """Share of the box that is dominated (Zitzler and Thiele, 1999)."""
        from pymoo.indicators.hv import HV

        scaled = (self.best - objectives * self.signs) / (self.best - self.worst)
        return float(HV(ref_point=np.ones(scaled.shape[1]))(np.clip(scaled, 0.0, 1.0)))


def _problem(portfolio: Portfolio) -> Any:  # noqa: ANN401 - pymoo is untyped
    from pymoo.core.problem import Problem

    class PortfolioProblem(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=len(portfolio), n_obj=portfolio.values.shape[1], xl=0, xu=1, vtype=bool)

        def _evaluate(self, x: npt.NDArray[Any], out: dict[str, Any], *args: object, **kwargs: object) -> None:
            out["F"] = -portfolio.evaluate(x.astype(bool)) * portfolio.signs

    return PortfolioProblem()


def _algorithm(portfolio: Portfolio, config: SearchConfig, first: Choices, rng: np.random.Generator) -> Any:  # noqa: ANN401
    from pymoo.core.repair import Repair
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.bitflip import BitflipMutation

    class Feasible(Repair):
        def _do(self, problem: object, x: npt.NDArray[Any], **kwargs: object) -> npt.NDArray[Any]:
            return portfolio.repair(x.astype(bool), rng.random(x.shape))

    operators = {
        "sampling": first,
        "crossover": UniformCrossover(),
        "mutation": BitflipMutation(prob_var=1.5 / len(portfolio)),
        "repair": Feasible(),
        "eliminate_duplicates": False,
    }
    if portfolio.values.shape[1] <= 3:
        from pymoo.algorithms.moo.nsga2 import NSGA2

        return NSGA2(pop_size=config.population, **operators)
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.util.ref_dirs import get_reference_directions

    directions = get_reference_directions(
        "das-dennis", portfolio.values.shape[1], n_partitions=_partitions(portfolio.values.shape[1], config.population)
    )
    return NSGA3(directions, pop_size=config.population, **operators)


def _partitions(objectives: int, population: int) -> int:
    """Most partitions of the simplex whose points a population can follow."""
    from math import comb

    partitions = 1
    while comb(objectives + partitions, partitions + 1) <= population:
        partitions += 1
    return partitions
