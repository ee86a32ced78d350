"""The four sources of candidates: frequent itemsets, pairs of high lift, names that are near, the co-purchase graph.

Shapes: I items, B baskets, C candidates, D dimensions.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.baskets.table import Baskets, Market
from data.errors import InputError
from data.matrices import unit_rows
from discovery.association import shrunken_lift
from discovery.bundles.candidates import Members, best_and_diverse
from discovery.bundles.config import BundlesConfig
from discovery.itemsets import frequent_itemsets

logger = logging.getLogger("catena")

Vectors = npt.NDArray[np.float32]
ITEMS_AT_ONCE = 2048  # rows of the product of pairs at once
PER_SOURCE_ITEM = 8  # candidates of one source that an item is in, as multiples of what is kept of all sources


@dataclass(frozen=True)
class Clues:
    """What sources look at.

    Attributes:
        market: items and baskets.
        baskets: those that candidates are mined in.
        vectors: float32 (I, D) of the items' names, unit length; None where nothing was embedded.
        items: int32, those that may be in a bundle, ascending.
    """

    market: Market
    baskets: Baskets
    vectors: Vectors | None
    items: npt.NDArray[np.int32]


@dataclass
class Found:
    """What the sources gave.

    Attributes:
        sets: of each source that did not fail.
        seconds: that each took.
        failed: in words, of each that failed.
        elapsed_s: from the first start to the last end.
    """

    sets: dict[str, Members] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    elapsed_s: float = 0.0


Source = Callable[[Clues, BundlesConfig], Members]


def find_all(clues: Clues, config: BundlesConfig, sources: Mapping[str, Source] | None = None) -> Found:
    """Ask every source that the run names; one that fails does not keep the others from it.

    Raises:
        InputError: if every source failed; with the first reason.
    """
    from threadpoolctl import threadpool_limits

    known = sources or SOURCE_FUNCTIONS
    found = Found()

    def ask(name: str) -> tuple[str, Members | Exception, float]:
        started = time.perf_counter()
        try:
            made: Members | Exception = known[name](clues, config)
        except Exception as error:  # whatever a source raises, the others go on
            made = error
        return name, made, time.perf_counter() - started

    started = time.perf_counter()
    # One thread each: two that share two cores with other sources wait for each other in busy loops.
    with threadpool_limits(1), ThreadPoolExecutor(len(config.sources) if config.parallel else 1) as pool:
        for name, made, seconds in pool.map(ask, config.sources):
            found.seconds[name] = round(seconds, 4)
            if isinstance(made, Exception):
                found.failed[name] = f"{type(made).__name__}: {made}"
                logger.warning("bundles: source %s failed: %s", name, found.failed[name])
            else:
                found.sets[name] = made
    found.elapsed_s = round(time.perf_counter() - started, 4)
    if not found.sets:
        raise InputError(
            f"bundles: every source failed: {found.failed}", "Correct the first, or name others in bundles.sources."
        )
    return found


def by_itemsets(clues: Clues, config: BundlesConfig) -> Members:
    """Frequent itemsets whose lift, shrunken, is above 1, by the baskets they hold above chance."""
    kept = _only(clues.baskets, clues.items)
    least = max(config.min_support, config.min_baskets / max(len(kept), 1))
    mined = frequent_itemsets(kept, min(least, 1.0), config.constraints.max_size, config.max_basket)
    width = config.constraints.max_size
    members, quality = [np.empty((0, width), np.int32)], [np.empty(0)]
    shares = kept.counts / max(len(kept), 1)
    for size in range(2, len(mined.sets) + 1):
        sets, counts = mined.of_size(size)
        expected = shares[sets].prod(axis=1) * len(kept)
        together = shrunken_lift(counts, expected, config.shrinkage) > 1
        rows = np.full((int(together.sum()), width), -1, np.int32)
        rows[:, :size] = sets[together]
        members.append(rows)
        quality.append((counts - expected)[together])
    return _best(np.concatenate(members), np.concatenate(quality), config)


def by_pairs(clues: Clues, config: BundlesConfig) -> Members:
    """Pairs by shrunken lift, times the root of their baskets, so that a pair in very few baskets is not first."""
    first, second, both = pair_counts(_only(clues.baskets, clues.items), max(2, config.min_baskets))
    counts = clues.baskets.counts
    expected = counts[first] * counts[second] / max(len(clues.baskets), 1)
    lift = shrunken_lift(both, expected, config.shrinkage)
    pairs = np.stack([first, second], axis=1)[lift > 1]
    return _best(pairs, (np.log(lift) * np.sqrt(both))[lift > 1], config)


def pair_counts(baskets: Baskets, least: int) -> tuple[Members, Members, npt.NDArray[np.int64]]:
    """Pairs of items that at least ``least`` baskets hold, by a sparse product, a block of items at a time.

    Returns:
        int32 items, the smaller first, and int64 counts.
    """
    wanted = np.flatnonzero(baskets.counts >= least)
    matrix = sp.csc_array(baskets.matrix())[:, wanted]
    rows = sp.csr_array(matrix.T)
    found = []
    for start in range(0, len(wanted), ITEMS_AT_ONCE):
        product = sp.csr_array(rows[start : start + ITEMS_AT_ONCE] @ matrix)
        product.sort_indices()
        block = sp.coo_array(product)
        upper = (block.data >= least) & (block.col > block.row + start)
        found.append((block.row[upper] + start, block.col[upper], block.data[upper]))
    if not found:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64)
    first, second, counts = (np.concatenate(part) for part in zip(*found, strict=True))
    return wanted[first].astype(np.int32), wanted[second].astype(np.int32), counts.astype(np.int64)


def by_text(clues: Clues, config: BundlesConfig) -> Members:
    """Pairs whose names are near and whose narrowest categories differ: complements, no substitutes.

    Raises:
        InputError: if no names were embedded.
    """
    if clues.vectors is None:
        raise InputError("names of items are not embedded", "Name an encoder, or leave text out of bundles.sources.")
    vectors = np.asarray(clues.vectors[clues.items], np.float32)
    first, second, cosine = nearest_pairs(vectors, config.neighbours)
    left, right = clues.items[first], clues.items[second]
    apart = ~substitutes(left, right, cosine, clues.market, config.substitute_similarity)
    popularity = np.log1p(np.minimum(clues.baskets.counts[left], clues.baskets.counts[right]))
    return _best(np.stack([left, right], axis=1)[apart], (cosine * popularity)[apart], config)


def by_graph(clues: Clues, config: BundlesConfig) -> Members:
    """Pairs that are near in the co-purchase graph: what the same other items are bought with.

    Vectors are the leading singular directions of the positive pointwise mutual information of pairs (Levy and
    Goldberg, NeurIPS 2014), by a randomised range finder (Halko et al., SIAM Review 2011).
    """
    baskets = _only(clues.baskets, clues.items)
    first, second, both = pair_counts(baskets, 2)
    if len(first) == 0:
        return np.empty((0, 2), np.int32)
    n = max(len(baskets), 1)
    counts = baskets.counts
    information = np.log(both * n / (counts[first] * counts[second]))
    place = np.full(baskets.num_items, -1, np.int64)
    place[clues.items] = np.arange(len(clues.items))
    good = information > 0
    rows, columns = place[first[good]], place[second[good]]
    weights = np.concatenate([information[good]] * 2).astype(np.float32)
    shape = (len(clues.items), len(clues.items))
    both_ways = (np.concatenate([rows, columns]), np.concatenate([columns, rows]))
    vectors = spectral_vectors(
        sp.csr_array((weights, both_ways), shape=shape), config.graph_dimensions, config.search.seed
    )
    left, right, cosine = nearest_pairs(vectors, config.neighbours)
    popularity = np.log1p(np.minimum(counts[clues.items[left]], counts[clues.items[right]]))
    pairs = np.stack([clues.items[left], clues.items[right]], axis=1)
    return _best(pairs, cosine * popularity, config)


SOURCE_FUNCTIONS: Mapping[str, Source] = {
    "itemsets": by_itemsets,
    "pairs": by_pairs,
    "text": by_text,
    "graph": by_graph,
}


def spectral_vectors(affinity: sp.csr_array, dimensions: int, seed: int) -> Vectors:
    """Rows of the leading eigenvectors, each by the root of its eigenvalue's size, unit length; float32 (n, D)."""
    n = affinity.shape[0]
    width = min(dimensions + 8, n)
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(affinity @ rng.standard_normal((n, width), np.float32))[0]
    for _ in range(2):
        basis = np.linalg.qr(affinity @ basis)[0]
    values, turned = np.linalg.eigh(basis.T @ (affinity @ basis))
    leading = np.argsort(-np.abs(values))[:dimensions]
    vectors = (basis @ turned[:, leading]) * np.sqrt(np.abs(values[leading]))
    return unit_rows(np.ascontiguousarray(vectors, np.float32))


def nearest_pairs(
    vectors: Vectors, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pairs of rows of which one is among the k nearest of the other, each once: smaller, larger, cosine."""
    import faiss

    if len(vectors) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    cosines, near = index.search(vectors, min(k + 1, len(vectors)))
    rows = np.repeat(np.arange(len(vectors)), near.shape[1])
    others, flat = near.ravel(), cosines.ravel().astype(np.float64)
    good = (others >= 0) & (others != rows) & (flat > 1e-6)
    low, high = np.minimum(rows, others)[good], np.maximum(rows, others)[good]
    _, first = np.unique(low * len(vectors) + high, return_index=True)
    return low[first], high[first], flat[good][first]


def substitutes(
    left: npt.NDArray[np.int32],
    right: npt.NDArray[np.int32],
    cosine: npt.NDArray[np.float64],
    market: Market,
    similarity: float,
) -> npt.NDArray[np.bool_]:
    """Pairs of one narrowest category, or whose names are nearly the same: people buy one or the other."""
    leaf = leaves(market.categories)
    same = (leaf[left] == leaf[right]) & (leaf[left] >= 0)
    either: npt.NDArray[np.bool_] = same | (cosine >= similarity)
    return either


def leaves(categories: Sequence[Sequence[str]]) -> npt.NDArray[np.int64]:
    """A number for each category path, int64 (I,); -1 where there is none."""
    number: dict[tuple[str, ...], int] = {}
    return np.array([number.setdefault(tuple(path), len(number)) if path else -1 for path in categories], np.int64)


def _only(baskets: Baskets, items: npt.NDArray[np.int32]) -> Baskets:
    """The same baskets with these items alone."""
    wanted = np.zeros(baskets.num_items, bool)
    wanted[items] = True
    kept = wanted[baskets.items]
    ends = np.concatenate([[0], np.cumsum(kept)])[baskets.indptr]
    return Baskets(ends.astype(np.int64), baskets.items[kept], baskets.num_items)


def _best(members: Members, quality: npt.NDArray[np.float64], config: BundlesConfig) -> Members:
    kept = best_and_diverse(members, quality, config.per_source, PER_SOURCE_ITEM * config.per_item)
    return members[kept].astype(np.int32)
