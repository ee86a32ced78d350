"""Of scored pairs of any number: those that are calibrated on, and the best.

Shapes: P pairs of a shard, K kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from data.matrices import contains
from discovery.candidates import SOURCES, Nodes, pair_codes
from discovery.shards import SCORED, Pairs

RESERVE = 20  # pairs looked at for each that is kept: the others are passed over when a document has enough
SAMPLE = 2_000_000  # pairs that calibration looks at, about


@dataclass(frozen=True)
class Held:
    """Pairs that are linked although the scorer was not told, as ascending codes, int64 each.

    Attributes:
        valid: links hidden for validation: calibration learns from them.
        test: links hidden for the test: calibration must not count them as failures.
        other: links that are for nothing, and pairs that people have judged to be none: never proposed.
    """

    valid: Nodes
    test: Nodes
    other: Nodes


@dataclass
class Sample:
    """Pairs that calibration looks at.

    Attributes:
        score: float32 (P,).
        linked: bool (P,) whether the pair is a hidden validation link.
        weight: float64 (P,) how many pairs each one stands for.
    """

    score: npt.NDArray[np.float32]
    linked: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]


@dataclass
class Survey:
    """What is seen of the pairs in one pass over the shards; memory does not grow with their number.

    Args:
        held: linked pairs that are not known to the scorer.
        nodes: n.
        keep: proposals wanted.
        share: of the pairs that are neither linked nor among the best, how many calibration looks at.
        seed: of that sample.
    """

    held: Held
    nodes: int
    keep: int
    share: float
    seed: int
    candidates: int = 0
    by_source: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 0))
    found: dict[str, int] = field(default_factory=lambda: {"valid": 0, "test": 0})
    best: Pairs = field(default_factory=lambda: np.empty(0, SCORED))
    _samples: list[Sample] = field(default_factory=list)

    def add(self, pairs: Pairs) -> None:
        """Look at the pairs of one shard."""
        pairs = np.array(pairs)
        codes, score = pair_codes(pairs["low"], pairs["high"], self.nodes), score_of(pairs)
        valid, test = contains(self.held.valid, codes), contains(self.held.test, codes)
        other = contains(self.held.other, codes)
        self.candidates += len(pairs)
        for name, bit in SOURCES.items():
            self.by_source[name] += int((pairs["found_by"] & bit > 0).sum())
        self.found["valid"] += int(valid.sum())
        self.found["test"] += int(test.sum())
        self._sample(score, valid, ~(test | other))
        merged = np.concatenate([self.best, pairs[~(valid | test | other)]])
        self.best = merged[best_first(merged, self.nodes)[: RESERVE * self.keep]]

    def _sample(
        self, score: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_]
    ) -> None:
        """Every hidden link, every pair that may be among the best, and a share of the rest, which stands for all."""
        certain = valid.copy()
        if self.share < 1 and len(score) > self.keep:
            certain |= score >= np.partition(score, -self.keep)[-self.keep]
        drawn = np.random.default_rng((self.seed, self.candidates)).random(len(score)) < self.share
        chosen = judged & (certain | drawn)
        weight = np.where(certain, 1.0, 1.0 / self.share)
        self._samples.append(Sample(score[chosen], valid[chosen], weight[chosen]))

    @property
    def sample(self) -> Sample:
        """What calibration looks at, of all shards."""
        parts = self._samples or [Sample(np.empty(0, np.float32), np.empty(0, np.bool_), np.empty(0))]
        return Sample(
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.linked for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )


def survey(shards: Iterable[Pairs], total: int, held: Held, nodes: int, keep: int, seed: int) -> Survey:
    """Look at all shards, one after another.

    Args:
        shards: scored pairs.
        total: of pairs in all shards.
        held: linked pairs that are not known to the scorer.
        nodes: n.
        keep: proposals wanted.
        seed: of the sample.
    """
    seen = Survey(held, nodes, keep, min(1.0, SAMPLE / max(total, 1)), seed)
    for pairs in shards:
        seen.add(pairs)
    return seen


def score_of(pairs: Pairs) -> npt.NDArray[np.float32]:
    """Score of each unordered pair, float32 (P,): the mean of both directions."""
    return np.asarray((pairs["forward"] + pairs["backward"]) * np.float32(0.5))


def best_first(pairs: Pairs, nodes: int) -> npt.NDArray[Any]:
    """Places of the pairs by falling score; of equal ones, the lower numbers first. int64 (P,)."""
    return np.lexsort((pair_codes(pairs["low"], pairs["high"], nodes), -score_of(pairs)))


def diverse(pairs: Pairs, keep: int, most_of_one: int) -> Pairs:
    """The first pairs of an order in which no document occurs more than ``most_of_one`` times, at most ``keep``."""
    count: dict[int, int] = {}
    kept: list[int] = []
    for place, (low, high) in enumerate(zip(pairs["low"].tolist(), pairs["high"].tolist(), strict=True)):
        if len(kept) == keep:
            break
        of_low, of_high = count.get(low, 0), count.get(high, 0)
        if of_low < most_of_one and of_high < most_of_one:
            count[low], count[high] = of_low + 1, of_high + 1
            kept.append(place)
    return pairs[kept]
