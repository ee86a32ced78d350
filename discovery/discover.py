"""Candidates to proposals: score, calibrate, rank, explain, write.

What a probability means here. The candidates are found in a graph from which the validation and test links were
hidden. Among all candidates of that graph, some turn out to be hidden validation links; how often, at each score, is
what the calibrator learns. "0.30" therefore reads: of the pairs that Catena finds this promising, 30 in 100 were links
that people had made and that had been hidden from it. Base rate and candidates are the real ones, nothing is
resampled. As a forecast for links nobody has made yet it holds as far as those resemble the hidden ones; and since a
candidate that nobody linked counts as a failure even where it deserves a link, it leans towards caution.
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data.graph.graph import GraphArtifact
from data.matrices import distinct
from data.partitions import count_rows, partition_name, partitions, read_table, write_partition
from data.schema import PARTS
from data.spread import Runner, here
from discovery.by_document import write_by_document
from discovery.candidates import Nodes, pair_codes
from discovery.config import DiscoverConfig
from discovery.judging import samples, write_samples
from discovery.proposals import PROPOSALS, Proposed, proposal_table
from discovery.select import Held, Sample, diverse, score_of, survey
from discovery.shards import Pairs, PairScorer, Source, find_and_score, scored_pairs
from discovery.texts import shared_words, texts_of
from evaluation.calibration import Calibrator, brier, expected_calibration_error, fit, reliability

logger = logging.getLogger("catena")

PARTITION_ROWS = 4096
NO_PAIRS: tuple[Nodes, Nodes] = (np.empty(0, np.int64), np.empty(0, np.int64))


def discover(
    source: Source,
    config: DiscoverConfig,
    out: Path,
    documents: Path | None = None,
    runner: Runner = here,
    judged_not: tuple[Nodes, Nodes] = NO_PAIRS,
) -> dict[str, Any]:
    """Propose links that the corpus lacks, best first, to ``out/links``.

    Args:
        source: documents, vectors and links with their splits; and the link model, which sees the training links only.
        config: candidates and how many proposals to keep.
        out: receives ``links/part-*.parquet``, ``documents/part-*.parquet`` (the best of each), ``calibrator.json``,
            ``judge.html`` and ``judge.csv``; ``work`` in it is kept until all is done.
        documents: the documents table, for words in reasons and for the page; None where documents have no text.
        runner: spreads the shards.
        judged_not: pairs of node numbers that people have judged to be no links, int64 (m,) each.

    Returns:
        Counts of candidates (in all and by source), the share of validation links among them, the calibration's
        figures, and how many proposals were kept.
    """
    graph = source.graph()
    held = held_pairs(graph, judged_not)
    work = out / "work" / f"{config.shard_documents}"  # files of shards of another size do not fit
    files = find_and_score(source, len(graph.ids), config, work, runner)
    total = sum(len(pairs) for pairs in scored_pairs(files))
    seen = survey(scored_pairs(files), total, held, len(graph.ids), config.keep, config.seed)
    calibrator, calibration = calibrate(seen.sample, config)
    calibrator.save(out / "calibrator.json")

    proposed = directed(diverse(seen.best, config.keep, config.most_of_one), source.scorer(), calibrator)
    texts = _texts(graph, proposed, documents)
    ends = [(graph.ids[u], graph.ids[v]) for u, v in zip(proposed.sources, proposed.targets, strict=True)]
    terms = shared_words(texts, ends)
    _write(out / "links", len(proposed), lambda part: proposal_table(graph, proposed.part(part), terms[part]))
    _write_samples(out, texts, config)
    if config.per_document:
        write_by_document(source, held, files, config, calibrator, work / "documents", runner)
        shutil.rmtree(out / "documents", ignore_errors=True)  # of a run that was killed just here
        (work / "documents").rename(out / "documents")
    shutil.rmtree(out / "work")
    logger.info("discover: a sample to judge: %s", out / "judge.html")
    logger.info("discover: %s candidates scored, the best %s kept", f"{seen.candidates:,}", f"{len(proposed):,}")
    return {
        "candidates": seen.candidates,
        "candidates_by_source": seen.by_source,
        "hidden_links_found": {
            part: seen.found[part] / len(codes) if len(codes) else None
            for part, codes in (("valid", held.valid), ("test", held.test))
        },
        "kept": len(proposed),
        "calibration": calibration,
    }


def _texts(graph: GraphArtifact, proposed: Proposed, documents: Path | None) -> dict[str, str]:
    """Texts of the proposals' documents, by id."""
    if documents is None:
        return {}
    nodes = distinct(np.concatenate([proposed.sources, proposed.targets]))
    return texts_of(documents, [graph.ids[node] for node in nodes])


def _write_samples(out: Path, texts: Mapping[str, str], config: DiscoverConfig) -> None:
    """The page and the file of samples to judge, from the whole range of the proposals that are written."""
    chosen = samples(count_rows(out / "links"), config.samples, config.seed)
    rows = read_table(out / "links").take(pa.array(chosen)).to_pylist()
    write_samples(rows, texts, out)


def nodes_of(graph: GraphArtifact, pairs: Sequence[tuple[str, str]]) -> tuple[Nodes, Nodes]:
    """Node numbers of pairs of ids, int64 (m,) each; pairs with an unknown id are left out."""
    ids = pa.array(graph.ids, pa.string())
    numbers = [
        pc.fill_null(pc.index_in(pa.array([pair[end] for pair in pairs], pa.string()), ids), -1).to_numpy()
        for end in (0, 1)
    ]
    known = (numbers[0] >= 0) & (numbers[1] >= 0)
    return numbers[0][known].astype(np.int64), numbers[1][known].astype(np.int64)


def held_pairs(graph: GraphArtifact, judged_not: tuple[Nodes, Nodes]) -> Held:
    """The pairs that must be left out or counted apart, as codes."""
    n = len(graph.ids)

    def codes(*ends: tuple[Nodes, Nodes]) -> Nodes:
        return distinct(np.concatenate([pair_codes(*pair, n) for pair in ends]))

    return Held(
        codes(graph.links("valid")),
        codes(graph.links("test")),
        codes(*(graph.links(part) for part in PARTS[3:]), judged_not),
    )


def directed(pairs: Pairs, scorer: PairScorer, calibrator: Calibrator) -> Proposed:
    """Pairs as links in their likelier direction, with relation and probability."""
    turned = pairs["backward"] > pairs["forward"]
    sources = np.where(turned, pairs["high"], pairs["low"]).astype(np.int64)
    targets = np.where(turned, pairs["low"], pairs["high"]).astype(np.int64)
    score = score_of(pairs)
    names: Sequence[str] = scorer.relation_names
    relation = [names[r] for r in scorer.relations(sources, targets).tolist()] if len(pairs) else []
    return Proposed(sources, targets, calibrator(score), score, relation, pairs["found_by"])


def calibrate(sample: Sample, config: DiscoverConfig) -> tuple[Calibrator, dict[str, Any]]:
    """Learn the calibrator on one half of the judged candidates and measure it on the other.

    Where a half lacks links, or everything is linked, no curve can be learnt: every candidate then gets the base rate
    (Laplace's rule of succession), and the log warns.

    Args:
        sample: of the candidates, hidden test links left out.
        config: seed of the halves, and ``keep``: calibration is also measured on the share of candidates that are kept.

    Returns:
        The calibrator and its figures: ``ece``, ``brier`` (with that of the base rate alone, to compare), the same for
        the most promising candidates, and the reliability table.
    """
    learning = np.random.default_rng(config.seed).random(len(sample.score)) < 0.5
    linked, weight = sample.linked, sample.weight
    measured = round(float(weight[~learning].sum()))
    figures: dict[str, Any] = {
        "judged": round(float(weight.sum())),
        "linked": int(linked.sum()),
        "measured_on": measured,
    }
    if not (0 < linked[learning].sum() < learning.sum() and 0 < linked[~learning].sum() < (~learning).sum()):
        logger.warning("discover: too few validation links among the candidates: every proposal gets the base rate")
        odds = (linked.sum() + 1) / (weight[~linked].sum() + 1)
        flat = Calibrator("platt", np.empty(0), np.empty(0), 0.0, float(np.log(odds)))
        return flat, {**figures, "method": "base rate"}
    calibrator = fit(sample.score[learning], linked[learning], weight[learning])
    promised, came, w = calibrator(sample.score[~learning]), linked[~learning], weight[~learning]
    base_rate = np.full(len(came), np.average(linked[learning], weights=weight[learning]))
    top = np.argsort(-sample.score[~learning], kind="stable")[: max(1, min(config.keep, len(came)) // 2)]
    return calibrator, {
        **figures,
        "method": calibrator.method,
        "base_rate": float(np.average(came, weights=w)),
        **_held(promised, came, w),
        "brier_of_base_rate": brier(base_rate, came, w),
        "top": {
            "cases": len(top),
            "promised": float(np.average(promised[top], weights=w[top])),
            "observed": float(np.average(came[top], weights=w[top])),
            **_held(promised[top], came[top], w[top]),
        },
    }


def _held(
    promised: npt.NDArray[np.float64], came: npt.NDArray[np.bool_], weight: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """How far probabilities hold."""
    return {
        "ece": expected_calibration_error(promised, came, weights=weight),
        "brier": brier(promised, came, weight),
        "reliability": reliability(promised, came, weights=weight),
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
