"""The search of portfolios beside pymoo with one evaluation at a time and Optuna, and beside the exact front."""

import time
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.rows import Row
from discovery.bundles.config import SearchConfig
from discovery.bundles.evolve import Box, evolve, non_dominated
from discovery.bundles.portfolio import Portfolio

EVALUATIONS, VARIABLES, POPULATION = 2000, 60, 100


def portfolio(count: int, most: int, seed: int) -> Portfolio:
    """Random bundles of two of 40 items with three objectives to maximise, one of them reach."""
    rng = np.random.default_rng(seed)
    members = np.sort(np.stack([rng.choice(40, 2, replace=False) for _ in range(count)]), axis=1).astype(np.int32)
    thin = [rng.integers(0, 2**63, (count, 256), dtype=np.uint64) for _ in range(4)]
    return Portfolio(
        values=rng.random((count, 3)) ** 2,
        maximise=(True, True, True),
        additive=(False, True, True),
        members=members,
        holding=thin[0] & thin[1] & thin[2] & thin[3],
        baskets=256 * 64,
        most=most,
        item_at_most=3,
        spend=np.zeros(count),
    )


def measure() -> list[Row]:
    """Each of the three three times, turn by turn; and instances whose every choice can be evaluated."""
    problem = portfolio(VARIABLES, 12, 0)
    config = SearchConfig(evaluations=EVALUATIONS, population=POPULATION, stall_generations=None)
    ours = _median([lambda: evolve(problem, config)] * 3)
    one_by_one = _median([lambda: _by_pymoo(problem)] * 3)
    optuna = _median([lambda: _by_optuna(problem)])
    shares = [_share_of_exact(portfolio(14, 5, seed), seed) for seed in range(5)]
    what = f"{EVALUATIONS:,} evaluations, 3 objectives, {VARIABLES} binary variables"
    return [
        Row(
            id="bundles.search_pymoo",
            what=f"{what}; times faster than pymoo's NSGA-II with one evaluation at a time, repair in both",
            value=one_by_one / ours,
            unit="x",
            at_least=5.0,
            peer=f"pymoo {one_by_one:.2f} s, Catena {ours:.2f} s",
        ),
        Row(
            id="bundles.search_optuna",
            what=f"{what}; times faster than Optuna's NSGA-II",
            value=optuna / ours,
            unit="x",
            at_least=40.0,
            peer=f"Optuna {optuna:.2f} s",
        ),
        Row(
            id="bundles.hypervolume",
            what="hypervolume over that of the exact front, 14 bundles, every choice evaluated, worst of 5 instances",
            value=100 * min(shares),
            unit="%",
            at_least=98.0,
            peer=f"mean {100 * float(np.mean(shares)):.2f}%",
        ),
    ]


def _median(works: list[Callable[[], object]]) -> float:
    seconds = []
    for work in works:
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _by_pymoo(problem: Portfolio) -> object:
    """The library as its documentation shows it: a problem of one individual, and a repair of one."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.repair import Repair
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.bitflip import BitflipMutation
    from pymoo.operators.sampling.rnd import BinaryRandomSampling
    from pymoo.optimize import minimize

    rng = np.random.default_rng(0)

    class One(ElementwiseProblem):
        def __init__(self) -> None:
            super().__init__(n_var=len(problem), n_obj=3, xl=0, xu=1, vtype=bool)

        def _evaluate(self, x: np.ndarray, out: dict[str, object], *args: object, **kwargs: object) -> None:
            out["F"] = -problem.evaluate(x.astype(bool)[None])[0]

    class Feasible(Repair):
        def _do(self, _: object, x: np.ndarray, **kwargs: object) -> np.ndarray:
            rows = [problem.repair(row.astype(bool)[None], rng.random((1, len(problem))))[0] for row in x]
            return np.stack(rows)

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=BinaryRandomSampling(),
        crossover=UniformCrossover(),
        mutation=BitflipMutation(),
        repair=Feasible(),
    )
    return minimize(One(), algorithm, ("n_eval", EVALUATIONS), seed=0)


def _by_optuna(problem: Portfolio) -> object:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng(0)

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        wanted = np.array([trial.suggest_categorical(f"x{n}", [False, True]) for n in range(len(problem))])
        choice = problem.repair(wanted[None], rng.random((1, len(problem))))
        return tuple(map(float, problem.evaluate(choice)[0]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=0)
        study = optuna.create_study(directions=["maximize"] * 3, sampler=sampler)
        study.optimize(objective, n_trials=EVALUATIONS)
    return study


def _share_of_exact(problem: Portfolio, seed: int) -> float:
    choices = (np.arange(1 << len(problem))[:, None] >> np.arange(len(problem)) & 1).astype(bool)
    choices = choices[(choices.sum(axis=1) >= 1) & (choices.sum(axis=1) <= problem.most)]
    kept = problem.repair(choices, np.zeros(choices.shape))
    choices = choices[(kept == choices).all(axis=1)]
    objectives = problem.evaluate(choices)
    exact = objectives[non_dominated(objectives)]
    box = Box.around(problem, objectives)
    found = evolve(problem, SearchConfig(evaluations=EVALUATIONS, population=POPULATION, seed=seed))
    return box.hypervolume(found.objectives) / box.hypervolume(exact)
