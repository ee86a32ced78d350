"""Later baskets as judge: how many hold a proposed bundle, and how many hold what plain heuristics propose.

Shapes: B baskets, K bundles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.baskets.clean import NO_PERIOD
from data.baskets.table import Baskets
from discovery.association import wilson_interval
from discovery.bundles.candidates import Members
from discovery.bundles.evidence import holding, occasions
from discovery.bundles.sources import pair_counts

ROUNDS = 2000
DRAWS = 20  # of random pairs
HINDSIGHT = 3000  # pairs that the best are chosen of
PROPOSED = "proposed"

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
    """The last ``share`` of the periods to judge; where no two periods are known, so many of the baskets.

    A basket without a time is mined beside dated ones, and never judges.

    Args:
        periods: int32 (B,).
        share: 0 for none.
    """
    count = len(periods)
    if share == 0 or count < 2:
        return Split(np.ones(count, bool), np.zeros(count, bool), "none")
    known = np.unique(periods[periods != NO_PERIOD])
    if len(known) > 1:
        first = known[min(len(known) - 1, max(1, round(len(known) * (1 - share))))]
        later = periods >= first
        return Split(~later, later, "period")
    later = np.arange(count) >= round(count * (1 - share))
    return Split(~later, later, "share")


def backtest(
    members: Members, earlier: Baskets, later: Baskets, items: npt.NDArray[np.int32], seed: int = 0
) -> dict[str, Any]:
    """Hit rates of the proposed bundles and of as many pairs of each heuristic.

    Args:
        members: int32 (K, L), proposed.
        earlier: baskets that heuristics look at.
        later: baskets that judge.
        items: that heuristics may propose.
        seed: of random pairs and of resampling.

    Returns:
        ``baskets`` and ``bundles``; ``hit_rate``, the share of later baskets that hold a bundle whole; ``ratio`` of the
        proposed over each other way (95% by bootstrap); ``take_rate``, of the times that a basket held all of a bundle
        or all but one item, the share that it held all; ``take_ratio``. ``best pairs in hindsight`` are chosen on the
        later baskets themselves: what no proposal can do much better than.
    """
    rng = np.random.default_rng(seed)
    count = len(members)
    ways = {
        PROPOSED: members,
        "top pairs by count": top_pairs(earlier, items, count),
        "pairs of top sellers": top_sellers(earlier, items, count),
    }
    hits = {name: held_by_any(pairs, later) for name, pairs in ways.items()}
    taken = {name: occasions(pairs, later) for name, pairs in ways.items()}
    drawn = [random_pairs(items, count, rng) for _ in range(DRAWS)]
    random = np.concatenate([held_by_any(pairs, later) for pairs in drawn])
    of_random = np.sum([occasions(pairs, later) for pairs in drawn], axis=0)
    best = held_by_any(best_pairs(later, items, count), later)
    ours, others = hits[PROPOSED], [name for name in ways if name != PROPOSED]
    return {
        "baskets": len(later),
        "bundles": count,
        "hit_rate": {
            **{name: _rate(of.sum(), len(of)) for name, of in hits.items()},
            "random pairs": _rate(random.sum(), len(random)),
            "best pairs in hindsight": _rate(best.sum(), len(best)),
        },
        "ratio": {
            **{name: _ratio(ours, hits[name], rng) for name in others},
            "random pairs": _no_interval(ours.mean(), random.mean()),
            "best pairs in hindsight": _no_interval(ours.mean(), best.mean()),
        },
        "take_rate": {**{name: _rate(*of) for name, of in taken.items()}, "random pairs": _rate(*of_random)},
        "take_ratio": {
            **{name: _log_ratio(taken[PROPOSED], taken[name]) for name in others},
            "random pairs": _log_ratio(taken[PROPOSED], (int(of_random[0]), int(of_random[1]))),
        },
    }


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


def best_pairs(baskets: Baskets, items: npt.NDArray[np.int32], count: int) -> Members:
    """Pairs that together are held by about as many of these very baskets as any ``count`` pairs could be.

    Greedy coverage, within 1 - 1/e of the optimum (Nemhauser et al., 1978): no proposal of pairs does much better.
    """
    pairs = top_pairs(baskets, items, HINDSIGHT)
    left = holding(pairs, baskets)
    chosen = []
    for _ in range(min(count, len(pairs))):
        chosen.append(int(np.bitwise_count(left).sum(axis=1, dtype=np.int64).argmax()))
        left &= ~left[chosen[-1]]
    return pairs[chosen]


def _rate(successes: float, trials: float) -> Mapping[str, float]:
    low, high = wilson_interval(successes, trials)
    return {"rate": float(successes / trials) if trials else 0.0, "low": float(low), "high": float(high)}


def _no_interval(ours: float, theirs: float) -> dict[str, float | None]:
    return {"ratio": float(ours / theirs) if theirs else None, "low": None, "high": None}


def _log_ratio(ours: tuple[int, int], theirs: tuple[int, int]) -> dict[str, float | None]:
    """Ratio of two shares with the interval of its logarithm (Katz et al., 1978); occasions count as independent."""
    if 0 in (*ours, *theirs):
        return {"ratio": None, "low": None, "high": None}
    ratio = ours[0] / ours[1] / (theirs[0] / theirs[1])
    spread = 1.96 * np.sqrt(1 / ours[0] - 1 / ours[1] + 1 / theirs[0] - 1 / theirs[1])
    return {"ratio": ratio, "low": float(ratio * np.exp(-spread)), "high": float(ratio * np.exp(spread))}


def _ratio(ours: Flags, theirs: Flags, rng: np.random.Generator) -> dict[str, float | None]:
    """Ratio of two rates on the same baskets; resamples draw how many baskets fall in each of the four cells."""
    if not theirs.any():
        return {"ratio": None, "low": None, "high": None}
    cells = np.bincount(2 * ours + theirs, minlength=4)
    drawn = rng.multinomial(len(ours), cells / len(ours), ROUNDS)
    ratios = (drawn[:, 2] + drawn[:, 3]) / np.maximum(drawn[:, 1] + drawn[:, 3], 1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {"ratio": float(ours.sum() / theirs.sum()), "low": float(low), "high": float(high)}
