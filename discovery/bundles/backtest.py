"""Later baskets as judge: how many hold a proposed bundle, and how many hold what plain heuristics propose.

Shapes: B baskets, K bundles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.baskets.table import Baskets
from discovery.association import wilson_interval
from discovery.bundles.candidates import Members
from discovery.bundles.evidence import holding
from discovery.bundles.sources import pair_counts

ROUNDS = 2000
DRAWS = 20  # of random pairs

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Baskets to mine in, and later ones to judge by.

    Attributes:
        earlier: bool (B,).
        later: bool (B,).
        by: ``period``, or ``share`` where no time is known and the baskets are split by their order of hashes.
    """

    earlier: Flags
    later: Flags
    by: str


def split_baskets(periods: npt.NDArray[np.int32], share: float) -> Split:
    """The last ``share`` of the periods to judge; of baskets without a time, so many of the baskets.

    Args:
        periods: int32 (B,).
        share: 0 for none.
    """
    count = len(periods)
    if share == 0 or count < 2:
        return Split(np.ones(count, bool), np.zeros(count, bool), "none")
    known = np.unique(periods)
    if len(known) > 1:
        first = known[min(len(known) - 1, max(1, round(len(known) * (1 - share))))]
        later = periods >= first
        return Split(~later, later, "period")
    later = np.arange(count) >= round(count * (1 - share))
    return Split(~later, later, "share")


def backtest(members: Members, earlier: Baskets, later: Baskets, items: npt.NDArray[np.int32], seed: int = 0) -> dict[str, Any]:
    """Hit rates of the proposed bundles and of as many pairs of each heuristic.

    Args:
        members: int32 (K, L), proposed.
        earlier: baskets that heuristics look at.
        later: baskets that judge.
        items: that heuristics may propose.
        seed: of random pairs and of resampling.

    Returns:
        ``baskets``; ``hit_rate`` of each way with ``low`` and ``high`` (95%, Wilson); and ``ratio`` of the proposed over
        each other with its 95% interval (bootstrap).
    """
    rng = np.random.default_rng(seed)
    count = len(members)
    ours = held_by_any(members, later)
    ways = {"top pairs by count": top_pairs(earlier, items, count), "pairs of top sellers": top_sellers(earlier, items, count)}
    hits = {name: held_by_any(pairs, later) for name, pairs in ways.items()}
    random = [held_by_any(random_pairs(items, count, rng), later) for _ in range(DRAWS)]
    rates = {"proposed": _rate(ours), **{name: _rate(of) for name, of in hits.items()}}
    rates["random pairs"] = _rate(np.concatenate(random)) if random else {}
    ratios = {name: _ratio(ours, of, rng) for name, of in hits.items()}
    mean = float(np.mean([of.mean() for of in random]))
    ratios["random pairs"] = {"ratio": float(ours.mean()) / mean if mean else None, "low": None, "high": None}
    return {"baskets": len(later), "bundles": count, "hit_rate": rates, "ratio": ratios}


def held_by_any(members: Members, baskets: Baskets) -> Flags:
    """Bool (B,): which baskets hold at least one bundle whole."""
    if len(members) == 0 or len(baskets) == 0:
        return np.zeros(len(baskets), bool)
    bits = np.bitwise_or.reduce(holding(members, baskets), axis=0)
    return np.unpackbits(bits.view(np.uint8), bitorder="little")[: len(baskets)].astype(bool)


def top_pairs(baskets: Baskets, items: npt.NDArray[np.int32], count: int) -> Members:
    """The pairs that most baskets hold."""
    first, second, both = pair_counts(baskets, 1)
    allowed = np.isin(first, items) & np.isin(second, items)
    order = np.argsort(-both[allowed], kind="stable")[:count]
    return np.stack([first[allowed], second[allowed]], axis=1)[order].astype(np.int32)


def top_sellers(baskets: Baskets, items: npt.NDArray[np.int32], count: int) -> Members:
    """Pairs of the items that most baskets hold, the largest product of their baskets first."""
    best = items[np.argsort(-baskets.counts[items], kind="stable")][: count + 1]
    first, second = np.triu_indices(len(best), 1)
    product = baskets.counts[best[first]] * baskets.counts[best[second]]
    order = np.argsort(-product, kind="stable")[:count]
    return np.stack([best[first], best[second]], axis=1)[order].astype(np.int32)


def random_pairs(items: npt.NDArray[np.int32], count: int, rng: np.random.Generator) -> Members:
    """Pairs of items, any as likely as any other."""
    if len(items) < 2:
        return np.empty((0, 2), np.int32)
    first = rng.integers(0, len(items), count)
    second = (first + rng.integers(1, len(items), count)) % len(items)
    return np.stack([items[first], items[second]], axis=1).astype(np.int32)


def _rate(hits: Flags) -> Mapping[str, float]:
    low, high = wilson_interval(hits.sum(), len(hits))
    return {"rate": float(hits.mean()) if len(hits) else 0.0, "low": float(low), "high": float(high)}


def _ratio(ours: Flags, theirs: Flags, rng: np.random.Generator) -> dict[str, float | None]:
    """Ratio of two rates on the same baskets; resamples draw how many baskets fall in each of the four cells."""
    if not theirs.any():
        return {"ratio": None, "low": None, "high": None}
    cells = np.bincount(2 * ours + theirs, minlength=4)
    drawn = rng.multinomial(len(ours), cells / len(ours), ROUNDS)
    ratios = (drawn[:, 2] + drawn[:, 3]) / np.maximum(drawn[:, 1] + drawn[:, 3], 1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {"ratio": float(ours.sum() / theirs.sum()), "low": float(low), "high": float(high)}
