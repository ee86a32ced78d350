"""Filtered, tie-aware ranks of held-out links among all documents, and the figures made of them.

Shapes: Q ranked links, S unique sources of a batch, N documents, L unordered links, P pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph
from data.matrices import distinct
from evaluation.blocks import DenseBlock, Nodes, SparseBlock, block_of, ragged

Scorer = Callable[[Nodes], npt.NDArray[np.float32]]
"""Scores of each source row against all documents: int64 (S,) -> float32 (S, N)."""

SparseScorer = Callable[[Nodes], sp.csr_array]
"""The same where most scores are 0: int64 (S,) -> float32 CSR (S, N). Entries that are not stored count as 0."""

PairScorer = Callable[[Nodes, Nodes], npt.NDArray[np.float32]]
"""Scores of single pairs, comparable between sources: int64 (P,), int64 (P,) -> float32 (P,)."""

CURVE_POINTS = 40


@dataclass(frozen=True)
class LinkScores:
    """A method of scoring links.

    Args:
        rows: scores of sources with all documents, dense or sparse.
        pairs: scores of single pairs; where None, they are taken from the rows of their sources.
        logits: whether a score is meant as the log odds of a link.
    """

    rows: Scorer | SparseScorer
    pairs: PairScorer | None = None
    logits: bool = False


@dataclass(frozen=True)
class HardNegatives:
    """Documents that a method takes for linked most easily, of each of some sources.

    Attributes:
        sources: int64 (U,) ascending.
        documents: int64 (U, K), filled up with -1.
    """

    sources: Nodes
    documents: Nodes


@dataclass(frozen=True)
class Ranks:
    """How links stand among other documents.

    Attributes:
        ranks: float64 (Q,) filtered ranks among all documents, from 1 to N - 1, halves where ties are even.
        hard_rivals: float64 (Q,) how many hard negatives of the source stand before the target, ties by half; None
            where none were given.
    """

    ranks: npt.NDArray[np.float64]
    hard_rivals: npt.NDArray[np.float64] | None = None


def unordered_pairs(sources: Nodes, targets: Nodes) -> tuple[Nodes, Nodes]:
    """Each pair of different documents once, the lower node number first, in ascending order.

    Args:
        sources: int64 (L,) node numbers, in either direction, repeats and self links allowed.
        targets: int64 (L,) node numbers.
    """
    apart = sources != targets
    low, high = np.minimum(sources, targets)[apart].astype(np.int64), np.maximum(sources, targets)[apart]
    base = high.max(initial=0) + 1
    codes = distinct(low * base + high)
    return codes // base, codes % base


def link_ranks(
    score: Scorer | SparseScorer,
    sources: Nodes,
    targets: Nodes,
    known: Graph,
    batch_size: int = 256,
    ranked: Callable[[int], None] = lambda sources: None,
) -> npt.NDArray[np.float64]:
    """Rank of each target among all documents that its source is not yet known to link to.

    Filtered ranks (Bordes et al., NeurIPS 2013): the source itself and its other known neighbours do not compete. Ties
    get the realistic rank, the mean of the optimistic and the pessimistic one (Berrendorf et al., 2020), so that a
    constant scorer gains nothing: it gets (n + 1) / 2 among n competitors.

    Each distinct source is scored once; memory is ``batch_size`` rows of N scores, for any number of links.

    Args:
        score: the scorer that is judged.
        sources: int64 (Q,) where each link starts.
        targets: int64 (Q,) the document whose rank is wanted.
        known: graph of every known link of every split, ranked ones included.
        batch_size: sources scored at once.
        ranked: called after each batch with the number of its sources.

    Returns:
        float64 (Q,) ranks from 1 to N - 1, halves where ties are even.

    Raises:
        ValueError: if a link joins a document to itself, or the scorer returns another shape or NaN.
    """
    return rank_links(score, sources, targets, known, None, batch_size, ranked).ranks


def rank_links(
    score: Scorer | SparseScorer,
    sources: Nodes,
    targets: Nodes,
    known: Graph,
    hard: HardNegatives | None,
    batch_size: int = 256,
    ranked: Callable[[int], None] = lambda sources: None,
) -> Ranks:
    """``link_ranks``, and in the same pass how each target stands among the hard negatives of its source.

    Args:
        score: as for ``link_ranks``, and so are all others but ``hard``.
        sources: int64 (Q,).
        targets: int64 (Q,).
        known: graph of every known link.
        hard: negatives of every source; None where only ranks are wanted.
        batch_size: sources scored at once.
        ranked: called after each batch with the number of its sources.

    Raises:
        ValueError: as ``link_ranks``.
    """
    if bool((sources == targets).any()):
        raise ValueError("a document linked to itself has no rank: remove self links first")
    ranks, before = np.empty(len(sources), np.float64), np.zeros(len(sources), np.float64)
    for batch, queries, rows in _by_source(sources, batch_size):
        block = block_of(score(batch), len(batch), known.num_nodes)
        wanted = block.at(rows, targets[queries])
        ranks[queries] = _filtered_ranks(block, batch, rows, targets[queries], wanted, known)
        if hard is not None:
            before[queries] = _hard_rivals(block, batch, rows, wanted, hard)
        ranked(len(batch))
    return Ranks(ranks, None if hard is None else before)


def _by_source(sources: Nodes, batch_size: int) -> Iterator[tuple[Nodes, Nodes, Nodes]]:
    """Batches of distinct sources, ascending: the sources, the places of their links, and the row of each link."""
    order = np.argsort(sources, kind="stable")
    unique, starts = np.unique(sources[order], return_index=True)
    bounds = np.append(starts, len(sources))
    for first in range(0, len(unique), batch_size):
        last = min(first + batch_size, len(unique))
        rows = np.repeat(np.arange(last - first), np.diff(bounds[first : last + 1]))
        yield unique[first:last], order[bounds[first] : bounds[last]], rows


def _filtered_ranks(
    block: DenseBlock | SparseBlock,
    batch: Nodes,
    rows: Nodes,
    targets: Nodes,
    wanted: npt.NDArray[np.float32],
    known: Graph,
) -> npt.NDArray[np.float64]:
    """Counts the rivals in whole rows, then takes off those that do not compete."""
    row, place = ragged(known.indptr, batch)
    filtered = [row * known.num_nodes + known.indices[place], np.arange(len(batch)) * known.num_nodes + batch]
    codes = distinct(np.concatenate([*filtered, rows * known.num_nodes + targets]))
    at_row, column = codes // known.num_nodes, codes % known.num_nodes
    scores = block.at(at_row, column)
    query, entry = ragged(np.searchsorted(at_row, np.arange(len(batch) + 1)), rows)
    above, level = block.rivals(rows, wanted)
    above -= np.bincount(query[scores[entry] > wanted[query]], minlength=len(rows))
    level -= np.bincount(query[scores[entry] == wanted[query]], minlength=len(rows))
    return 1.0 + above + level / 2.0


def _hard_rivals(
    block: DenseBlock | SparseBlock, batch: Nodes, rows: Nodes, wanted: npt.NDArray[np.float32], hard: HardNegatives
) -> npt.NDArray[np.float64]:
    documents = hard.documents[np.searchsorted(hard.sources, batch)]
    row = np.repeat(np.arange(len(batch)), documents.shape[1])
    scores = block.at(row, np.maximum(documents, 0).ravel()).reshape(documents.shape)
    scores[documents < 0] = -np.inf
    above, level = scores[rows] > wanted[:, None], scores[rows] == wanted[:, None]
    return np.asarray(above.sum(axis=1) + level.sum(axis=1) / 2.0)


def pair_scores(
    method: LinkScores, sources: Nodes, targets: Nodes, num_nodes: int, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Scores of single pairs, the mean of both directions: a link is known without direction.

    Args:
        method: with a scorer of pairs, or of rows alone, in which case each distinct source costs a row.
        sources: int64 (P,).
        targets: int64 (P,).
        num_nodes: N.
        batch_size: sources scored at once.

    Returns:
        float32 (P,).

    Raises:
        ValueError: if the scorer returns another shape or NaN.
    """
    asked, answers = both_directions(sources, targets)
    if method.pairs is not None:
        scores = method.pairs(asked, answers)
    else:
        scores = row_pairs(method.rows, asked, answers, num_nodes, batch_size)
    if bool(np.isnan(scores.min(initial=0))):
        raise ValueError("the scorer of pairs returned NaN")
    return np.asarray(scores.reshape(2, -1).mean(axis=0))


def row_pairs(
    score: Scorer | SparseScorer, sources: Nodes, targets: Nodes, num_nodes: int, batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """Scores of single pairs, float32 (P,), in the direction given, from the rows of their sources."""
    scores = np.empty(len(sources), np.float32)
    for batch, queries, rows in _by_source(sources, batch_size):
        scores[queries] = block_of(score(batch), len(batch), num_nodes).at(rows, targets[queries])
    return scores


def both_directions(sources: Nodes, targets: Nodes) -> tuple[Nodes, Nodes]:
    """Each link as two questions: (L,) links become 2L, the second half turned around."""
    return np.concatenate([sources, targets]), np.concatenate([targets, sources])


def link_metrics(ranks: npt.NDArray[np.float64], cutoffs: Sequence[int] = (10, 100)) -> dict[str, float]:
    """Mean reciprocal rank, the share of ranks within each cut-off, and the mean rank.

    Args:
        ranks: float64 (Q,), 1 is best.
        cutoffs: the k of Hit@k.

    Raises:
        ValueError: if there are no ranks.
    """
    if len(ranks) == 0:
        raise ValueError("no ranks: there are no held-out links to judge by")
    hits = {f"hit@{k}": float((ranks <= k).mean()) for k in cutoffs}
    return {"mrr": float((1.0 / ranks).mean()), **hits, "mean_rank": float(ranks.mean())}


def hit_curve(ranks: npt.NDArray[np.float64], num_nodes: int) -> list[tuple[int, float]]:
    """Hit@k for k spaced evenly on a logarithmic axis from 1 to N, for a chart."""
    ks = np.unique(np.geomspace(1, max(num_nodes - 1, 1), CURVE_POINTS).round().astype(int))
    return [(int(k), float((ranks <= k).mean())) for k in ks]
