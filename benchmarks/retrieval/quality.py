"""Search quality on sets in BEIR's layout, ours beside the plain way in the same run, and what the default is worth."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.retrieval.plain import DEPTH, Lists, by_vectors, by_words, fused
from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from data.partitions import read_qrels, read_table
from data.passages.text import passage_text
from data.vectors.quantise import Floats
from data.vectors.read import matrix
from evaluation.ranking import evaluate_ranking
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from retrieval.config import Mode
from retrieval.query import SearchQuery
from retrieval.search import Retriever, open_retriever

logger = logging.getLogger("catena")

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "scifact": {"bm25": 0.6625, "dense": 0.6444, "rrf": 0.6844},
    "cranfield": {"bm25": 0.3523, "dense": 0.3952, "rrf": 0.4250},
    "metatool": {"bm25": 0.4188, "dense": 0.6693, "rrf": 0.5545},
    "heq": {"bm25": 0.8854, "dense": 0.1834, "rrf": 0.4668},
}
"""nDCG@10 of the plain way that ours is held to, by set; each is measured again beside ours."""
EQUAL = 0.005  # figures that differ by less count as equal: encoders round, stemmers differ
ENGLISH = ("scifact", "cranfield", "metatool")
WHITESPACE = "heq"  # the set on which the best of ours is held to BM25 of words between spaces
DEFAULT: Mode = SearchQuery("").mode
MODES: tuple[Mode, ...] = tuple(dict.fromkeys(("bm25", "dense", DEFAULT)))
ASKED_AT_ONCE = 500


@dataclass(frozen=True)
class Figures:
    """Mean nDCG@10 on one set.

    Attributes:
        queries: how many were judged.
        ours: by mode of search, and ``rrf``: equal fusion of our own two lists.
        plain: of the plain way, ``bm25``, ``dense`` and ``rrf``; ``whitespace`` is BM25 of words between spaces.
    """

    queries: int
    ours: Mapping[str, float]
    plain: Mapping[str, float]

    @property
    def single(self) -> float:
        """The better of our BM25 and dense search."""
        return max(self.ours["bm25"], self.ours["dense"])

    def gain(self, figure: float) -> float:
        """By how many percent a figure is above the better single method."""
        return round(100 * (figure / self.single - 1), 2)


def measure() -> list[Row]:
    """The rows of each set, and those over all sets."""
    measured = {}
    for name in PUBLISHED:
        logger.info("bench retrieval: %s", name)
        measured[name] = measure_set(name)
    return rows_of(measured)


def rows_of(measured: Mapping[str, Figures]) -> list[Row]:
    """The table of rows.

    Args:
        measured: figures by set; what is over all sets is over these.
    """
    rows = [row for name, figures in measured.items() for row in _rows_of_set(name, figures)]
    gains = {name: figures.gain(figures.ours[DEFAULT]) for name, figures in measured.items()}
    best = {name: of.gain(max(of.ours.values())) for name, of in measured.items() if name in ENGLISH}
    rows.append(
        Row(
            id="retrieval.default_mean",
            what="the default pipeline above the better of BM25 and dense search, nDCG@10, mean of the sets",
            value=round(float(np.mean(list(gains.values()))), 2),
            unit="%",
            at_least=4.0,
            reach=6.0,
            peer=_listed(gains, 2),
        )
    )
    if best:
        rows.append(
            Row(
                id="retrieval.best_english",
                what="the best pipeline above the better of BM25 and dense search, nDCG@10, mean of the English sets",
                value=round(float(np.mean(list(best.values()))), 2),
                unit="%",
                at_least=5.0,
                reach=10.0,
                peer=_listed(best, 2),
            )
        )
    return rows


def _rows_of_set(name: str, figures: Figures) -> list[Row]:
    rows = [
        Row(
            id=f"retrieval.{name}.{method}",
            what=f"nDCG@10 of {title} on {name}, {figures.queries:,} queries",
            value=round(figures.ours[method], 4),
            unit="nDCG@10",
            at_least=round(PUBLISHED[name][method] - EQUAL, 4),
            reach=PUBLISHED[name][method],
            peer=f"{plain}: {figures.plain[method]:.4f}",
        )
        for method, title, plain in (
            ("bm25", "BM25", "bm25s with its English stop-words"),
            ("dense", "dense search", "a matrix product"),
            ("rrf", "the two lists fused with equal weights, k 60", "the same of the peers' lists"),
        )
    ]
    rows.append(
        Row(
            id=f"retrieval.{name}",
            what=f"nDCG@10 of the default pipeline ({DEFAULT}) on {name}; the bound is 1% below the better of BM25 and "
            "dense search, measured in the same run",
            value=round(figures.ours[DEFAULT], 4),
            unit="nDCG@10",
            at_least=round(0.99 * figures.single, 4),
            reach=round(figures.single, 4),
            peer=f"ours: {_listed(figures.ours, 4)}; plain: {_listed(figures.plain, 4)}",
        )
    )
    if name == WHITESPACE:
        rows.append(
            Row(
                id=f"retrieval.{name}.best",
                what=f"nDCG@10 of the best pipeline on {name}, in Hebrew",
                value=round(max(figures.ours.values()), 4),
                unit="nDCG@10",
                at_least=round(figures.plain["whitespace"], 4),
                peer=f"bm25s of words between spaces: {figures.plain['whitespace']:.4f}",
            )
        )
    return rows


def measure_set(name: str) -> Figures:
    """Figures of one run file's corpus; the run is made first where it is not.

    Args:
        name: of the run file.
    """
    plan = Plan(load_run(RUNS / f"{name}.yaml"))
    tables, index = plan.bring("ingest").path, plan.bring("index").path
    passages, embedded = plan.bring("chunk").path / "passages", plan.bring("embed").path / "vectors"
    qrels = read_qrels(tables / "qrels")
    asked = {
        row["id"]: row["text"]
        for row in read_table(tables / "queries", ["id", "text"]).to_pylist()
        if any(grade > 0 for grade in qrels.get(row["id"], {}).values())
    }
    texts = list(asked.values())
    retriever = open_retriever(index, usable_encoder(plan))
    assert retriever.encoder is not None
    vectors = retriever.encoder.encode_queries(texts)

    def judged(lists: Lists) -> float:
        return _ndcg(dict(zip(asked, lists, strict=True)), qrels)

    found = {mode: ours(retriever, texts, vectors, mode) for mode in MODES}
    retriever.index.close()
    figures: dict[str, float] = {mode: judged(lists) for mode, lists in found.items()}
    figures["rrf"] = judged(fused(found["bm25"], found["dense"]))
    plain = _plain(passages, embedded, texts, vectors, whitespace=name == WHITESPACE)
    return Figures(len(asked), figures, {method: judged(lists) for method, lists in plain.items()})


def ours(retriever: Retriever, texts: Sequence[str], vectors: Floats, mode: Mode) -> Lists:
    """Ids of the best documents of each query, in batches.

    Args:
        retriever: that is asked.
        texts: the queries.
        vectors: theirs, float32 (Q, dim).
        mode: of search.
    """
    lists: Lists = []
    for start in range(0, len(texts), ASKED_AT_ONCE):
        some = slice(start, start + ASKED_AT_ONCE)
        queries = [SearchQuery(text, mode, DEPTH) for text in texts[some]]
        answers = retriever.answer(queries, list(vectors[some]))
        lists += [[sys.intern(hit.document_id) for hit in hits] for hits in answers]
    return lists


def _plain(passages: Path, embedded: Path, texts: Sequence[str], asked: Floats, whitespace: bool) -> dict[str, Lists]:
    table = read_table(passages, ["document_id", "title", "text"])
    ids = table["document_id"].to_pylist()
    stored = [passage_text(row["title"], row["text"]) for row in table.to_pylist()]
    words = by_words(ids, stored, texts)
    nearest = by_vectors(ids, matrix(read_table(embedded, ["vector"])), asked)
    lists = {"bm25": words, "dense": nearest, "rrf": fused(words, nearest)}
    return {**lists, "whitespace": by_words(ids, stored, texts, whitespace=True)} if whitespace else lists


def _ndcg(lists: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]) -> float:
    run = {query: {id_: -float(place) for place, id_ in enumerate(ranked[:10])} for query, ranked in lists.items()}
    return evaluate_ranking(run, {query: qrels[query] for query in run}).means["ndcg@10"]


def _listed(figures: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"{name} {figure:.{digits}f}" for name, figure in figures.items())
