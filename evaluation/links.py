"""Filtered, tie-aware ranks of held-out links among all documents, and the figures made of them.

Shapes: Q ranked links, S unique sources of a batch, N documents, L unordered links.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.graph.graph import Graph
from data.progress import progress
from evaluation.significance import bootstrap_interval, paired_difference

Nodes = npt.NDArray[np.int64]
Scorer = Callable[[Nodes], npt.NDArray[np.float32]]
"""Scores of each source row against all documents: int64 (S,) -> float32 (S, N)."""

CURVE_POINTS = 40


def unordered_pairs(sources: Nodes, targets: Nodes) -> tuple[Nodes, Nodes]:
    """Each pair of different documents once, the lower node number first, in ascending order.

    Args:
        sources: int64 (L,) node numbers, in either direction, repeats and self links allowed.
        targets: int64 (L,) node numbers.
    """
    apart = sources != targets
    low, high = np.minimum(sources, targets)[apart], np.maximum(sources, targets)[apart]
    pairs = np.unique(np.column_stack([low, high]), axis=0)
    return pairs[:, 0], pairs[:, 1]


def link_ranks(
    score: Scorer,
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
    if bool((sources == targets).any()):
        raise ValueError("a document linked to itself has no rank: remove self links first")
    num_nodes = known.num_nodes
    ranks = np.empty(len(sources), np.float64)
    order = np.argsort(sources, kind="stable")
    unique, starts = np.unique(sources[order], return_index=True)
    ends = np.append(starts[1:], len(sources))
    for first in range(0, len(unique), batch_size):
        batch = unique[first : first + batch_size]
        scores = score(batch)
        if scores.shape != (len(batch), num_nodes) or bool(np.isnan(scores).any()):
            raise ValueError(f"the scorer must return ({len(batch)}, {num_nodes}) numbers, got {scores.shape} or NaN")
        for row, source in enumerate(batch):
            queries = order[starts[first + row] : ends[first + row]]
            ranks[queries] = _ranks_of_source(scores[row], int(source), targets[queries], known)
        ranked(len(batch))
    return ranks


def _ranks_of_source(
    scores: npt.NDArray[np.float32], source: int, targets: Nodes, known: Graph
) -> npt.NDArray[np.float64]:
    wanted = scores[targets]
    competitors = scores.copy()  # the scorer may have handed out a view of something it keeps
    competitors[known.indices[known.indptr[source] : known.indptr[source + 1]]] = np.nan  # NaN compares false: no rival
    competitors[source] = np.nan
    competitors[targets] = np.nan
    above = np.array([np.count_nonzero(competitors > score) for score in wanted], np.float64)
    level = np.array([np.count_nonzero(competitors == score) for score in wanted], np.float64)
    return 1.0 + above + level / 2.0


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


def evaluate_links(
    scorers: Mapping[str, Scorer],
    sources: Nodes,
    targets: Nodes,
    known: Graph,
    *,
    model: str = "model",
    ablations: Sequence[str] = (),
    cutoffs: Sequence[int] = (10, 100),
    batch_size: int = 256,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Judge several scorers on the same held-out links, asked in both directions.

    The two directions of a link are not independent, so intervals and tests resample links, each with the mean of its
    two reciprocal ranks.

    Args:
        scorers: by name.
        sources: int64 (L,) of the held-out links.
        targets: int64 (L,) of the held-out links.
        known: graph of every known link of every split.
        model: the scorer that is tested against the best of the others, where it is among them.
        ablations: scorers that are parts of the model: in the table, but no baselines.
        cutoffs: the k of Hit@k.
        batch_size: sources scored at once.
        resamples: rounds of each bootstrap and randomisation test.
        seed: of the resampling.

    Returns:
        The table, name -> ``link_metrics`` with ``mrr_low`` and ``mrr_high`` (95% bootstrap interval); and the details:
        how many links, the comparison of the model with the best baseline, and each scorer's Hit@k curve.
    """
    asked, answers = both_directions(sources, targets)
    table: dict[str, dict[str, float]] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    reciprocal: dict[str, npt.NDArray[np.float64]] = {}
    for name, score in scorers.items():
        with progress(f"evaluate {name}", len(np.unique(asked)), "documents") as counted:
            ranks = link_ranks(score, asked, answers, known, batch_size, counted.advance)
        reciprocal[name] = (1.0 / ranks).reshape(2, -1).mean(axis=0)
        low, high = bootstrap_interval(reciprocal[name], resamples, seed)
        table[name] = {**link_metrics(ranks, cutoffs), "mrr_low": low, "mrr_high": high}
        curves[name] = hit_curve(ranks, known.num_nodes)
    details: dict[str, Any] = {"test_links": len(sources), "documents": known.num_nodes, "curves": curves}
    baselines = [name for name in table if name not in (model, *ablations)]
    if model in table and baselines:
        best = max(baselines, key=lambda name: table[name]["mrr"])
        compared = paired_difference(reciprocal[model], reciprocal[best], resamples, seed)
        details["comparison"] = {
            "best_baseline": best,
            "ratio": table[model]["mrr"] / table[best]["mrr"],
            **compared,
        }
    return table, details
