"""Candidates to proposals: score, calibrate, rank, explain, write.

What a probability means here. The candidates are found in a graph from which the validation and test links were
hidden. Among all candidates of that graph, some turn out to be hidden validation links; how often, at each score, is
what the calibrator learns. "0.30" therefore reads: of the pairs that Catena finds this promising, 30 in 100 were links
that people had made and that had been hidden from it. Base rate and candidates are the real ones, nothing is
resampled. As a forecast for links nobody has made yet it holds as far as those resemble the hidden ones; and since a
candidate that nobody linked counts as a failure even where it deserves a link, it leans towards caution.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.graph.graph import GraphArtifact
from data.partitions import partition_name, partitions, write_partition
from data.progress import progress
from discovery.candidates import SOURCES, Candidates, Nodes, find_candidates, pair_codes
from discovery.config import DiscoverConfig
from discovery.proposals import PROPOSALS, proposal_table
from evaluation.calibration import Calibrator, brier, expected_calibration_error, fit, reliability
from evaluation.links import unordered_pairs

logger = logging.getLogger("catena")

PARTITION_ROWS = 4096


class PairScorer(Protocol):
    """What discovery needs of a link model.

    Attributes:
        relation_names: name of each relation index.
        node_vectors: float32 (n, d), the model's vectors.
    """

    @property
    def relation_names(self) -> list[str]:
        """Name of each relation index."""

    @property
    def node_vectors(self) -> npt.NDArray[np.float32]:
        """float32 (n, d): the model's vectors."""

    def score_pairs(self, sources: Nodes, targets: Nodes) -> npt.NDArray[np.float32]:
        """Score of each pair, float32 (P,), in the direction given; higher is likelier."""

    def relations(self, sources: Nodes, targets: Nodes) -> npt.NDArray[np.int64]:
        """Likeliest relation of each pair, int64 (P,)."""


def discover(graph: GraphArtifact, scorer: PairScorer, config: DiscoverConfig, out: Path) -> dict[str, Any]:
    """Propose links that the corpus lacks, best first, to ``out/links``.

    Args:
        graph: documents, vectors and links with their splits.
        scorer: the link model, which sees the training links only.
        config: candidates and how many proposals to keep.
        out: receives ``links/part-*.parquet`` and ``calibrator.json``.

    Returns:
        Counts of candidates (in all and by source), the share of validation links among them, the calibration's
        figures, and how many proposals were kept.
    """
    found = find_candidates(graph.training_graph, graph.vectors, scorer.node_vectors, config)
    forward, backward = score_both_ways(scorer, found, config.batch_pairs)
    score = (forward + backward) * np.float32(0.5)

    codes = pair_codes(found.low, found.high, len(graph.ids))
    links = {split: pair_codes(*unordered_pairs(*graph.links(split)), len(graph.ids)) for split in ("valid", "test")}
    hidden = {split: np.isin(codes, links[split]) for split in links}
    judged = ~hidden["test"]
    calibrator, calibration = calibrate(score[judged], hidden["valid"][judged], config)
    calibrator.save(out / "calibrator.json")

    open_pairs = np.flatnonzero(~hidden["valid"] & ~hidden["test"])
    best = open_pairs[np.lexsort((codes[open_pairs], -score[open_pairs]))[: config.keep]]
    turned = backward[best] > forward[best]  # the likelier direction is proposed
    sources = np.where(turned, found.high[best], found.low[best])
    targets = np.where(turned, found.low[best], found.high[best])
    relation = [scorer.relation_names[r] for r in scorer.relations(sources, targets).tolist()] if len(best) else []
    _write(
        out / "links",
        len(best),
        lambda part: proposal_table(
            graph,
            sources[part],
            targets[part],
            calibrator(score[best[part]]),
            score[best[part]],
            relation[part],
            found.found_by[best[part]],
        ),
    )
    logger.info("discover: %s candidates scored, the best %s kept", f"{len(found):,}", f"{len(best):,}")
    return {
        "candidates": len(found),
        "candidates_by_source": {name: int((found.found_by & bit > 0).sum()) for name, bit in SOURCES.items()},
        "hidden_links_found": {
            split: float(hidden[split].sum()) / len(links[split]) if len(links[split]) else None for split in links
        },
        "kept": len(best),
        "calibration": calibration,
    }


def score_both_ways(
    scorer: PairScorer, pairs: Candidates, batch_pairs: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Scores from low to high and from high to low, float32 (P,) each, in batches of ``batch_pairs``.

    Each batch holds the pairs of neighbouring sources: a scorer's cost is a row of the graph a source, so pairs in the
    other direction's order would cost many times as much.
    """
    forward, backward = np.empty(len(pairs), np.float32), np.empty(len(pairs), np.float32)
    with progress("discover", 2 * len(pairs), "pairs") as counted:
        for scores, sources, targets in ((forward, pairs.low, pairs.high), (backward, pairs.high, pairs.low)):
            by_source = np.argsort(sources, kind="stable")
            for start in range(0, len(pairs), batch_pairs):
                batch = by_source[start : start + batch_pairs]
                scores[batch] = scorer.score_pairs(sources[batch], targets[batch])
                counted.advance(len(batch))
    return forward, backward


def calibrate(
    score: npt.NDArray[np.float32], linked: npt.NDArray[np.bool_], config: DiscoverConfig
) -> tuple[Calibrator, dict[str, Any]]:
    """Learn the calibrator on one half of the judged candidates and measure it on the other.

    Where a half lacks links, or everything is linked, no curve can be learnt: every candidate then gets the base rate
    (Laplace's rule of succession), and the log warns.

    Args:
        score: float32 (P,) of the candidates, hidden test links left out.
        linked: bool (P,), whether the candidate is a hidden validation link.
        config: seed of the halves, and ``keep``: calibration is also measured on the share of candidates that are kept.

    Returns:
        The calibrator and its figures: ``ece``, ``brier`` (with that of the base rate alone, to compare), the same for
        the most promising candidates, and the reliability table.
    """
    learning = np.random.default_rng(config.seed).random(len(score)) < 0.5
    figures: dict[str, Any] = {"judged": len(score), "linked": int(linked.sum()), "measured_on": int((~learning).sum())}
    if not (0 < linked[learning].sum() < learning.sum() and 0 < linked[~learning].sum() < (~learning).sum()):
        logger.warning("discover: too few validation links among the candidates: every proposal gets the base rate")
        odds = (linked.sum() + 1) / ((~linked).sum() + 1)
        flat = Calibrator("platt", np.empty(0), np.empty(0), 0.0, float(np.log(odds)))
        return flat, {**figures, "method": "base rate"}
    calibrator = fit(score[learning], linked[learning])
    promised, came = calibrator(score[~learning]), linked[~learning]
    top = np.argsort(-score[~learning], kind="stable")[: max(1, min(config.keep, len(came)) // 2)]
    return calibrator, {
        **figures,
        "method": calibrator.method,
        "base_rate": float(came.mean()),
        "ece": expected_calibration_error(promised, came),
        "brier": brier(promised, came),
        "brier_of_base_rate": brier(np.full(len(came), linked[learning].mean()), came),
        "top": {
            "cases": len(top),
            "promised": float(promised[top].mean()),
            "observed": float(came[top].mean()),
            "ece": expected_calibration_error(promised[top], came[top]),
            "reliability": reliability(promised[top], came[top]),
        },
        "reliability": reliability(promised, came),
    }


def _write(folder: Path, rows: int, table_of: Callable[[slice], Any]) -> None:
    """Partitions of ``PARTITION_ROWS`` proposals; what an interrupted run left is replaced."""
    folder.mkdir(exist_ok=True)
    for stale in partitions(folder):
        stale.unlink()
    for number, start in enumerate(range(0, rows, PARTITION_ROWS)):
        write_partition(table_of(slice(start, min(start + PARTITION_ROWS, rows))), folder / partition_name(number))
    if rows == 0:
        write_partition(PROPOSALS.empty_table(), folder / partition_name(0))
