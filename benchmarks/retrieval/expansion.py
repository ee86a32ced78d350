"""What expansion by links is worth: search with it and without, on a corpus with links and questions.

The corpus is the built-in one. A question is a sentence that is cut out of its document, and is read in two ways: only
this document is relevant, or those as well that it has held-back links with, which neither search nor the link model
has seen. How far to spread is chosen on one half of the questions and judged on the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.retrieval.linked_corpus import LINKED, OWN
from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from data.sources import SourceConfig
from data.sources.function import FunctionSource
from evaluation.fusion_search import halves
from evaluation.questions import answered_questions
from evaluation.ranking import evaluate_ranking
from evaluation.significance import holm, paired_difference
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from retrieval.expansion import LinkExpander
from retrieval.hits import SearchHit
from retrieval.query import SearchQuery
from retrieval.search import Expander, Retriever, open_retriever
from retrieval.steps import ExpandStep
from serving.lookup import LookupFile

RUN = "demo"
QUESTIONS, SHARE, SEED = 1_000, 0.2, 0
METRIC, ALSO = "ndcg@10", "recall@10"
FOUND, BATCH = 100, 64
KINDS: tuple[Literal["known", "discovered", "both"], ...] = ("known", "discovered", "both")
DEPTHS, WEIGHTS = (1, 3, 10), (0.1, 0.3, 1.0, 3.0)
READINGS: Mapping[str, tuple[int, str]] = {
    "own": (OWN, "the document that a sentence was cut out of"),
    "linked": (LINKED, "that document and those it has held-back links with"),
}

Values = npt.NDArray[np.float64]
Qrels = Mapping[str, Mapping[str, int]]
Results = Mapping[str, Sequence[SearchHit]]


@dataclass(frozen=True)
class Judged:
    """How a way to spread that was chosen on one half does on the other.

    Attributes:
        step: that was chosen.
        without: nDCG@10 of each question of the other half without it, float64 (Q,).
        with_: the same with it.
        also: recall@10 without it and with it, means.
    """

    step: ExpandStep
    without: Values
    with_: Values
    also: tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """Questions with what search found for them.

    Attributes:
        queries: by their ids.
        vectors: of them, float32 (dim,).
        found: documents of each.
    """

    queries: Mapping[str, SearchQuery]
    vectors: Mapping[str, npt.NDArray[np.float32]]
    found: Results

    def expanded(self, expander: Expander, step: ExpandStep, some: Sequence[str]) -> dict[str, list[SearchHit]]:
        """What some questions find with a step of expansion."""
        results: dict[str, list[SearchHit]] = {}
        for start in range(0, len(some), BATCH):
            ids = some[start : start + BATCH]
            asked = [replace(self.queries[id_], expand=step) for id_ in ids]
            hits = expander.expand(asked, [self.vectors[id_] for id_ in ids], [self.found[id_] for id_ in ids])
            results |= zip(ids, hits, strict=True)
        return results


def measure() -> list[Row]:
    """A row for each reading of the questions and each kind of links."""
    demo = Plan(load_run(RUNS / f"{RUN}.yaml"))
    arguments = {"tables": str(demo.bring("ingest").path.resolve()), "questions": QUESTIONS, "share": SHARE}
    source = FunctionSource(path="benchmarks.retrieval.linked_corpus:rows", arguments={**arguments, "seed": SEED})
    plan = Plan(demo.run.model_copy(update={"name": "expansion", "source": SourceConfig(function=source)}))
    texts, qrels = answered_questions(plan.bring("ingest").path)
    plan.bring("discover")  # before lookup, which has its proposals then
    links = LookupFile(plan.bring("lookup").path)
    retriever = open_retriever(plan.bring("index").path, usable_encoder(plan))
    try:
        asked = ask(retriever, texts)
        return rows_of(asked, LinkExpander(retriever.index.query_batch, retriever.meta, links), qrels)
    finally:
        retriever.index.close()


def ask(retriever: Retriever, texts: Mapping[str, str]) -> Asked:
    """Ask questions by hybrid search.

    Args:
        retriever: that is asked.
        texts: of the questions, by their ids.
    """
    assert retriever.encoder is not None
    vectors = list(retriever.encoder.encode_queries(list(texts.values())))
    queries = [SearchQuery(text, top_k=FOUND) for text in texts.values()]
    found: list[list[SearchHit]] = []
    for start in range(0, len(queries), BATCH):
        found += retriever.answer(queries[start : start + BATCH], vectors[start : start + BATCH])
    by_id = (dict(zip(texts, of, strict=True)) for of in (queries, vectors, found))
    return Asked(*by_id)


def rows_of(asked: Asked, expander: Expander, qrels: Qrels) -> list[Row]:
    """The rows of some questions.

    Args:
        asked: with an even number of questions or not; a seeded half chooses.
        expander: over their corpus.
        qrels: with the grades of ``linked_corpus``.
    """
    ours, others = halves(sorted(asked.queries), SEED)
    ways = [ExpandStep(expand=k, depth=depth, weight=weight) for k, depth, weight in product(KINDS, DEPTHS, WEIGHTS)]
    tried = {way: asked.expanded(expander, way, ours) for way in ways}
    judged: dict[tuple[str, str], Judged] = {}
    for reading, (least, _) in READINGS.items():
        relevant = {query: {id_: 1 for id_, g in grades.items() if g >= least} for query, grades in qrels.items()}
        scores = {way: float(figures(results, relevant)[METRIC].mean()) for way, results in tried.items()}
        before = figures({id_: asked.found[id_] for id_ in others}, relevant)
        for kind in KINDS:
            best = max((way for way in ways if way.expand == kind), key=scores.__getitem__)
            after = figures(asked.expanded(expander, best, others), relevant)
            also = float(before[ALSO].mean()), float(after[ALSO].mean())
            judged[reading, kind] = Judged(best, before[METRIC], after[METRIC], also)
    return _rows(judged)


def figures(results: Results, relevant: Qrels) -> dict[str, Values]:
    """Figures of each question, in the order of their ids."""
    run = {query: {hit.document_id: -float(n) for n, hit in enumerate(hits)} for query, hits in results.items()}
    return evaluate_ranking(run, {query: relevant[query] for query in run}, [METRIC, ALSO]).per_query


def _rows(judged: Mapping[tuple[str, str], Judged]) -> list[Row]:
    compared = {key: paired_difference(one.with_, one.without, seed=SEED) for key, one in judged.items()}
    corrected = holm(np.array([found["p_value"] for found in compared.values()]))
    return [
        Row(
            id=f"retrieval.expansion.{reading}.{kind}",
            what=f"nDCG@10 that expansion by {'known and discovered' if kind == 'both' else kind} links adds to hybrid "
            f"search; relevant is {READINGS[reading][1]}; {len(one.without):,} questions on {RUN}",
            value=round(compared[reading, kind]["difference"], 4),
            unit="nDCG@10",
            at_least=0.0,
            peer=f"without {one.without.mean():.4f}, with {one.with_.mean():.4f} (95% of the difference "
            f"{compared[reading, kind]['difference_low']:+.4f} to {compared[reading, kind]['difference_high']:+.4f}, "
            f"p = {p:.4f} by Holm); recall@10 {one.also[0]:.4f}, {one.also[1]:.4f}; depth {one.step.depth}, weight "
            f"{one.step.weight:g}, chosen on the other half",
        )
        for ((reading, kind), one), p in zip(judged.items(), corrected.tolist(), strict=True)
    ]
