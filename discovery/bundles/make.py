"""From baskets to a portfolio of bundles: candidates, objectives, search, words, outputs; each phase timed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.baskets.table import Baskets, Market, count_periods
from data.errors import InputError
from discovery.bundles.backtest import backtest, split_baskets
from discovery.bundles.candidates import NO_ITEM
from discovery.bundles.choose import Chosen, choose_candidates, eligible_items
from discovery.bundles.config import SOURCES, BundlesConfig
from discovery.bundles.evidence import holding
from discovery.bundles.evolve import Front, evolve, greedy_front
from discovery.bundles.exact import check_feasible, solve
from discovery.bundles.objectives import Objective, Values, objectives_of
from discovery.bundles.outputs import experiment_plan, write_feed, write_plan
from discovery.bundles.phases import Phases
from discovery.bundles.portfolio import Portfolio
from discovery.bundles.response import Response, own_price_response
from discovery.bundles.sources import Clues, Found, Source, Vectors, find_all
from discovery.bundles.words import reason, shown_name, title, worded

DEFAULT_WEIGHTS = {"reach": 3.0}  # what later baskets speak for counts above what prices suppose
REACH_BASKETS = 1 << 18  # of more, evenly spaced ones stand for all when reach is computed


@dataclass(frozen=True)
class Searched:
    """The front, the portfolio that was chosen of it, and what it is measured against."""

    front: Front
    best: int
    exact: dict[str, Any]


def make_bundles(
    market: Market,
    vectors: Vectors | None,
    config: BundlesConfig,
    out: Path | None = None,
    sources: Mapping[str, Source] | None = None,
) -> dict[str, Any]:
    """Propose bundles.

    Args:
        market: baskets and items.
        vectors: float32 (I, D) of the items' names, unit length; None where nothing was embedded.
        config: the section ``bundles``.
        out: folder for the feed of bundles, that of all candidates, and the plan of an experiment; None for none.
        sources: in the place of the built-in ones, for tests.

    Returns:
        ``bundles`` of the chosen portfolio, ``front``, ``candidates``, ``sources``, ``left_out``, ``backtest``,
        ``search``, ``response``, ``phases`` (seconds).

    Raises:
        InputError: if there are too few baskets or items, every source fails, or the constraints cannot be kept.
    """
    phases = Phases()
    with phases.phase("split"):
        split = split_baskets(market.periods, config.backtest_share)
        earlier = market.baskets.select(split.earlier)
        items = eligible_items(market, earlier, config)
        _check(items, earlier, market, config)
        periods = count_periods(market.periods[split.earlier])
        objectives = objectives_of(config, bool(np.isfinite(market.price).any()))
    with phases.phase("candidates"):
        clues = Clues(market, earlier, vectors, items)
        found = find_all(clues, config, sources)
    with phases.phase("response"):
        response = own_price_response(market.sales, market.baskets.num_items, config.prices.response)
    with phases.phase("evidence and prices"):
        chosen = choose_candidates(found, clues, objectives, response.elasticity, periods, config)
        weights = _weights(objectives, config)
        portfolio = _portfolio(chosen, earlier, objectives, weights, config)
    with phases.phase("search"):
        searched = _search(portfolio, config)
    with phases.phase("words"):
        rows = np.flatnonzero(searched.front.choices[searched.best])
        rows = rows[np.argsort(-portfolio.weighted(chosen.values[rows]), kind="stable")]
        bundles = describe(rows, chosen, objectives, vectors)
        sentences, fallback = worded([b["title"] for b in bundles], [b["reason"] for b in bundles], config.words)
        bundles = [{**bundle, "reason": said} for bundle, said in zip(bundles, sentences, strict=True)]
    judged = None
    if split.later.any():
        with phases.phase("back-test"):
            later = market.baskets.select(split.later)
            judged = backtest(chosen.candidates.members[rows], earlier, later, items, config.search.seed)
            judged["split_by"] = split.by
    if out is not None:
        with phases.phase("outputs"):
            write_feed(bundles, out)
            every = np.arange(len(chosen.candidates))
            write_feed(describe(every, chosen, objectives, vectors), out, "candidates")
            write_plan(experiment_plan(bundles, len(earlier) / periods), out)
    return {
        "baskets": len(market.baskets),
        "baskets_mined": len(earlier),
        "items": len(items),
        "periods": periods,
        "objectives": [
            {"name": o.name, "unit": o.unit, "maximise": o.maximise, "weight": float(weight)}
            for o, weight in zip(objectives, weights, strict=True)
        ],
        "bundles": bundles,
        "front": _front(searched, chosen, objectives),
        "candidates": _all_candidates(chosen, objectives),
        "sources": _sources(found, chosen, rows),
        "left_out": chosen.left_out,
        "search": _search_figures(searched),
        "response": _response(response),
        "backtest": judged,
        "words": "template" if config.words is None or fallback else config.words.model,
        "words_failed": fallback,
        "phases": phases.seconds,
    }


def _check(items: np.ndarray[Any, Any], earlier: Baskets, market: Market, config: BundlesConfig) -> None:
    if len(items) < 2 or int((earlier.lengths > 1).sum()) == 0:
        raise InputError(
            f"{len(items)} items are in at least {config.min_baskets} of {len(earlier):,} baskets "
            f"(of {market.baskets.num_items:,} items), and {int((earlier.lengths > 1).sum()):,} baskets hold two items",
            "Lower bundles.min_baskets, widen the baskets (baskets.orders.basket), or roll products up.",
        )


def _weights(objectives: list[Objective], config: BundlesConfig) -> Values:
    unknown = set(config.weights) - {objective.name for objective in objectives}
    if unknown:
        raise InputError(
            f"bundles.weights names {', '.join(sorted(unknown))}, which is not among the objectives "
            f"{', '.join(o.name for o in objectives)}",
            "Name it in bundles.objectives, or leave out its weight.",
        )
    return np.array(
        [config.weights.get(objective.name, DEFAULT_WEIGHTS.get(objective.name, 1.0)) for objective in objectives]
    )


def _portfolio(
    chosen: Chosen, earlier: Baskets, objectives: list[Objective], weights: Values, config: BundlesConfig
) -> Portfolio:
    limits = config.constraints
    step = max(1, -(-len(earlier) // REACH_BASKETS))
    sample = earlier if step == 1 else earlier.select(np.arange(len(earlier)) % step == 0)
    return Portfolio(
        values=chosen.values,
        maximise=tuple(objective.maximise for objective in objectives),
        additive=tuple(objective.additive for objective in objectives),
        members=chosen.candidates.members,
        holding=holding(chosen.candidates.members, sample),
        baskets=len(sample),
        most=limits.bundles,
        least=limits.at_least,
        item_at_most=limits.item_at_most,
        spend=np.nan_to_num(chosen.batch.offers.given),
        budget=limits.budget,
        weights=weights,
    )


def _search(portfolio: Portfolio, config: BundlesConfig) -> Searched:
    check_feasible(portfolio)
    search = evolve if config.search.method == "evolution" else greedy_front
    front = search(portfolio, config.search)
    best = int(np.argmax(portfolio.weighted(front.objectives)))
    exact: dict[str, Any] = {}
    if config.search.exact:
        worth = portfolio.weighted(portfolio.values)
        optimum = solve(portfolio, worth)
        greedy = portfolio.greedy(portfolio.preference[None])[0]
        if optimum is not None:
            exact = {
                "value": optimum.value,
                "proven": optimum.proven,
                "greedy_share": float(worth[greedy].sum()) / optimum.value if optimum.value > 0 else None,
                "front_share": float((front.choices @ worth).max()) / optimum.value if optimum.value > 0 else None,
            }
    return Searched(front, best, exact)


def describe(
    rows: np.ndarray[Any, Any], chosen: Chosen, objectives: list[Objective], vectors: Vectors | None
) -> list[dict[str, Any]]:
    """Candidates as JSON values: items, price, numbers, objectives and the reason."""
    market, batch = chosen.batch.market, chosen.batch
    shares = batch.evidence.shares
    described = []
    for number, row in enumerate(rows, start=1):
        members = [int(item) for item in chosen.candidates.members[row] if item != NO_ITEM]
        names = _names(members, market)
        facts: dict[str, Any] = {
            "held": int(batch.evidence.held[row]),
            "baskets": batch.evidence.baskets,
            "items": len(members),
            "lift": float(batch.evidence.held[row] / max(batch.evidence.expected[row], 1e-12)),
            "lift_shrunken": float(batch.evidence.lift[row]),
            "lift_low": float(batch.evidence.lift_low[row]),
            "lift_high": float(batch.evidence.lift_high[row]),
            "each_lift": float((batch.evidence.confidence[row, : len(members)] / shares[members]).min()),
            "similarity": _similarity(members, vectors),
            **_money(chosen, int(row)),
            "cover_periods": _cover(members, chosen),
        }
        described.append(
            {
                "bundle_id": "+".join(market.ids[item] for item in members),
                "number": number,
                "title": title(names),
                "item_ids": [market.ids[item] for item in members],
                "item_names": names,
                **facts,
                "added": float(batch.offers.added[row].sum()),
                "sources": [name for bit, name in enumerate(SOURCES) if chosen.candidates.sources[row] >> bit & 1],
                "objectives": {o.name: float(v) for o, v in zip(objectives, chosen.values[row], strict=True)},
                "reason": reason(facts),
            }
        )
    return described


def _similarity(members: list[int], vectors: Vectors | None) -> float | None:
    if vectors is None:
        return None
    of_members = np.asarray(vectors[members], np.float32)
    cosines = of_members @ of_members.T
    return float(cosines[np.triu_indices(len(members), 1)].mean())


def _money(chosen: Chosen, row: int) -> dict[str, float | None]:
    offers = chosen.batch.offers
    if not np.isfinite(offers.price[row]):
        return {"price": None, "list_price": None, "discount": None}
    return {
        "price": round(float(offers.price[row]), 2),
        "list_price": round(float(offers.list_sum[row]), 2),
        "discount": round(float(offers.discount[row]), 4),
    }


def _cover(members: list[int], chosen: Chosen) -> float | None:
    market = chosen.batch.market
    with np.errstate(divide="ignore", invalid="ignore"):
        cover = market.stock[members] / (market.units[members] / market.num_periods)
    known = cover[np.isfinite(cover)]
    return float(known.min()) if len(known) else None


def _front(searched: Searched, chosen: Chosen, objectives: list[Objective]) -> list[dict[str, Any]]:
    names = [objective.name for objective in objectives]
    return [
        {
            "chosen": number == searched.best,
            "objectives": dict(zip(names, map(float, values), strict=True)),
            "bundles": [_name(chosen, int(row)) for row in np.flatnonzero(choice)],
        }
        for number, (choice, values) in enumerate(zip(searched.front.choices, searched.front.objectives, strict=True))
    ]


def _all_candidates(chosen: Chosen, objectives: list[Objective]) -> list[dict[str, Any]]:
    names = [objective.name for objective in objectives]
    return [
        {"title": _name(chosen, row), "objectives": dict(zip(names, map(float, values), strict=True))}
        for row, values in enumerate(chosen.values)
    ]


def _name(chosen: Chosen, row: int) -> str:
    return title(_names([int(item) for item in chosen.candidates.members[row] if item != NO_ITEM], chosen.batch.market))


def _names(members: list[int], market: Market) -> list[str]:
    return [shown_name(market.names[item], int(market.variants[item])) for item in members]


def _sources(found: Found, chosen: Chosen, rows: np.ndarray[Any, Any]) -> dict[str, Any]:
    by_name = {}
    for bit, name in enumerate(SOURCES):
        if name in found.seconds:
            from_it = (chosen.candidates.sources >> bit & 1).astype(bool)
            alone = chosen.candidates.sources == 1 << bit
            by_name[name] = {
                "seconds": found.seconds[name],
                "found": len(found.sets.get(name, ())),
                "kept": int(from_it.sum()),
                "kept_alone": int(alone.sum()),
                "chosen": int(from_it[rows].sum()),
                "failed": found.failed.get(name),
            }
    return {"elapsed_s": found.elapsed_s, "merged": chosen.merged, "by_source": by_name}


def _search_figures(searched: Searched) -> dict[str, Any]:
    front = searched.front
    return {
        "portfolios": len(front.choices),
        "evaluations": front.evaluations,
        "generations": front.generations,
        "hypervolume": front.hypervolume,
        "stopped_early": front.stopped_early,
        "seconds": round(front.seconds, 4),
        "exact": searched.exact,
    }


def _response(response: Response) -> dict[str, Any]:
    return {"pooled": response.pooled, "rows": response.rows, "estimated": response.estimated}
