"""Ways to fuse in one table: equal weights, ranks, distributions, log-odds, and weights that the corpus gave itself.

Every way fuses the same two lists of each question.
"""

from collections.abc import Mapping

import numpy as np

from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from evaluation.fusions import METRIC, AskedLists, ask_lists
from evaluation.questions import answered_questions
from evaluation.ranking import evaluate_ranking
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from retrieval.index import Key
from retrieval.search import open_retriever
from retrieval.weights import Fusion

SETS = ("scifact", "cranfield", "metatool", "heq")
BATCH = 64
ALONE: Mapping[str, Fusion] = {
    "bm25": Fusion(weights={"bm25": 1.0, "dense": 0.0}),
    "dense": Fusion(weights={"bm25": 0.0, "dense": 1.0}),
}
EQUAL: Mapping[str, Fusion] = {
    "sum, equal": Fusion("sum"),
    "rrf 60, equal": Fusion("rrf", {"bm25": 1.0, "dense": 1.0}),
    "dbsf, equal": Fusion("dbsf"),
}
SLOPE = 4.0  # of the sigmoid of a score in standard deviations above the list's middle


def measure() -> list[Row]:
    """A row a set: how far the default is above the better list alone, with all other ways beside it."""
    return [_row(name) for name in SETS]


def _row(name: str) -> Row:
    plan = Plan(load_run(RUNS / f"{name}.yaml"))
    questions, qrels = answered_questions(plan.bring("ingest").path)
    retriever = open_retriever(plan.bring("index").path, usable_encoder(plan))
    trust, default = retriever.meta.trust, retriever.index.fusion
    asked = ask_lists(retriever, questions, BATCH)
    retriever.index.close()
    ways = {**ALONE, **EQUAL}
    if trust is not None:
        ways |= {
            "rrf 60, trusted": Fusion.scaled("rrf", trust.weights),
            "dbsf, trusted": Fusion.scaled("dbsf", trust.weights),
        }
    found = {way: asked.judged(fusion, qrels).means[METRIC] for way, fusion in ways.items()}
    found["log-odds"] = _log_odds(asked, qrels)
    ours = asked.judged(default, qrels).means[METRIC]
    told = "no questions" if trust is None else ", ".join(f"{list_} {mrr:.2f}" for list_, mrr in trust.mrr.items())
    return Row(
        id=f"retrieval.fusion.{name}",
        what=f"the default fusion above the better list alone on {name}, nDCG@10 of {len(questions):,} questions",
        value=round(100 * (ours / max(found["bm25"], found["dense"]) - 1), 2),
        unit="%",
        at_least=-1.0,
        reach=0.0,
        peer=f"default {ours:.4f}; {', '.join(f'{way} {figure:.4f}' for way, figure in found.items())}; MRR of the "
        f"corpus's own questions: {told}",
    )


def _log_odds(asked: AskedLists, qrels: Mapping[str, Mapping[str, int]]) -> float:
    """Mean nDCG@10 of summed log-odds, each list's scores through a sigmoid around its middle.

    A list's probability is made of its scores alone, as Bayesian BM25 does where nothing was judged; a passage that a
    list lacks has its last one's.
    """
    run = {}
    for question, lists in asked.lists.items():
        total: dict[Key, float] = {}
        document_of: dict[Key, str] = {}
        odds: dict[str, dict[Key, float]] = {}
        for name, hits in lists.items():
            scores = np.array([hit.score for hit in hits])
            spread = scores.std() if len(scores) and scores.std() > 0 else 1.0
            odds[name] = dict(zip([hit.key for hit in hits], SLOPE * (scores - scores.mean()) / spread, strict=True))
            document_of |= {hit.key: str(hit.payload["document_id"]) for hit in hits}
        for passage in document_of:
            total[passage] = sum(of.get(passage, min(of.values(), default=0.0)) for of in odds.values())
        best: dict[str, float] = {}
        for passage in sorted(total, key=lambda id_: (-total[id_], id_)):
            best.setdefault(document_of[passage], -float(len(best)))
        run[question] = best
    return evaluate_ranking(run, {question: qrels[question] for question in run}).means[METRIC]
