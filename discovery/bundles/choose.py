"""From what the sources found to the candidates of a portfolio: rules, evidence, prices, and the best of them.

Shapes: C candidates, I items.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.baskets.table import Baskets, Market
from data.errors import InputError, nearest
from discovery.bundles.candidates import NO_ITEM, Candidates, Members, best_and_diverse, merge
from discovery.bundles.config import SOURCES, BundlesConfig
from discovery.bundles.evidence import gather_evidence
from discovery.bundles.objectives import Batch, Objective, Values, values_of
from discovery.bundles.prices import costs_of, make_offers
from discovery.bundles.sources import Clues, Found, leaves


@dataclass(frozen=True)
class Chosen:
    """Candidates that a portfolio is made of.

    Attributes:
        candidates: their members and sources.
        batch: what is known of them.
        values: float64 (C, M), objectives of each.
        left_out: candidates by the rule that left them out.
        merged: candidates of all sources, each once.
    """

    candidates: Candidates
    batch: Batch
    values: Values
    left_out: dict[str, int]
    merged: int


def eligible_items(market: Market, baskets: Baskets, config: BundlesConfig) -> npt.NDArray[np.int32]:
    """Items in enough baskets, of no excluded category, and with a price where any item has one; int32, ascending.

    Raises:
        InputError: if no item is of an excluded category.
    """
    enough = baskets.counts >= config.min_baskets
    excluded = set(config.constraints.exclude_categories)
    if excluded:
        known = {category for path in market.categories for category in path}
        for category in sorted(excluded - known):
            others = nearest(category, known) if known else "no product has a category"
            raise InputError(
                f"bundles.constraints.exclude_categories: no product is of {category!r}; {others}",
                "Name a category as baskets.products.category gives it.",
            )
        enough &= np.array([excluded.isdisjoint(path) for path in market.categories], bool)
    if np.isfinite(market.price).any():
        enough &= np.isfinite(market.price)
    return np.flatnonzero(enough).astype(np.int32)


def choose_candidates(
    found: Found,
    clues: Clues,
    objectives: list[Objective],
    elasticity: Values,
    periods: int,
    config: BundlesConfig,
) -> Chosen:
    """Merge, apply the rules of single bundles, measure, price, and keep the best of each objective with diversity."""
    market, limits = clues.market, config.constraints
    bits = [1 << SOURCES.index(name) for name in found.sets]
    merged = merge(list(found.sets.values()), bits, max(limits.max_size, 2))
    left_out: Counter[str] = Counter()
    kept = _by_rules(merged, market, config, left_out)
    evidence = gather_evidence(kept.members, clues.baskets, config.shrinkage)
    cost = costs_of(market.price, market.cost, config.prices)
    offers = make_offers(kept.members, evidence, market.price, cost, elasticity, periods, config.prices)
    good: npt.NDArray[np.bool_] = ~((evidence.lift < config.min_lift) & (evidence.expected >= config.shrinkage))
    left_out["bought together no more than by chance"] = int((~good).sum())
    good &= offers.allowed
    left_out["below the margin floor"] = int((~offers.allowed).sum())
    if limits.use_stock:
        short = good & ~_in_stock(kept, market, offers.whole + offers.added.sum(axis=1))
        left_out["not enough stock"] = int(short.sum())
        good &= ~short
    rows = np.flatnonzero(good)
    batch = Batch(kept.members[rows], evidence.take(rows), offers.take(rows), market, periods)
    values = values_of(objectives, batch) if len(rows) else np.empty((0, len(objectives)))
    best = _best(batch.members, values, objectives, config)
    left_out["of lower quality, or too many of one item"] = len(rows) - len(best)
    smaller = Batch(batch.members[best], batch.evidence.take(best), batch.offers.take(best), market, periods)
    candidates = kept.take(rows[best])
    return Chosen(candidates, smaller, values[best], {k: n for k, n in left_out.items() if n}, len(merged))


def _by_rules(merged: Candidates, market: Market, config: BundlesConfig, left_out: Counter[str]) -> Candidates:
    limits = config.constraints
    sizes = merged.sizes
    good = (sizes >= limits.min_size) & (sizes <= limits.max_size)
    left_out["size"] = int((~good).sum())
    if limits.distinct_categories:
        leaf = leaves(market.categories)
        of_member = np.where(merged.members == NO_ITEM, -1, leaf[merged.members])
        ordered = np.sort(of_member, axis=1)
        twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
        left_out["two of one category"] = int((good & twice).sum())
        good &= ~twice
    return merged.take(np.flatnonzero(good))


def _in_stock(kept: Candidates, market: Market, sold: Values) -> npt.NDArray[np.bool_]:
    """Whether each item's known stock covers what a period is expected to sell of the bundle."""
    stock = np.where(kept.members == NO_ITEM, np.inf, market.stock[kept.members])
    covered = np.isnan(stock) | (stock >= sold[:, None])
    return np.asarray(covered.all(axis=1), bool)


def _best(
    members: Members, values: Values, objectives: list[Objective], config: BundlesConfig
) -> npt.NDArray[np.int64]:
    """Rows of the best by each objective, and by all of them together, in turn: none loses its best to the others."""
    if len(values) == 0:
        return np.empty(0, np.int64)
    signed = values * np.where([objective.maximise for objective in objectives], 1.0, -1.0)
    ranks = np.argsort(np.argsort(signed, axis=0, kind="stable"), axis=0)
    rankings = [*ranks.T.astype(np.float64), ranks.mean(axis=1)]
    lists = [best_and_diverse(members, ranking, config.candidates, config.per_item) for ranking in rankings]
    places = np.concatenate([np.arange(len(rows)) for rows in lists])
    in_turn = np.concatenate(lists)[np.argsort(places, kind="stable")]
    _, first = np.unique(in_turn, return_index=True)
    best: npt.NDArray[np.int64] = in_turn[np.sort(first)][: config.candidates]
    return best
