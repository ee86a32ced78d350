"""Boosted trees over the features of a search, on questions that they did not learn from; and what training chooses."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.retrieval.quality import ENGLISH
from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from ray_apps.config import load_run
from ray_apps.plan import Plan

logger = logging.getLogger("catena")

TREES = "trees"  # name of the pipeline
FLAGS = ("--pipelines", json.dumps({TREES: [{"find": "hybrid", "depth": 50}, {"rank": "boosted", "depth": 50}]}))
METRIC = "ndcg@10"
SURE = 0.05  # p of the paired test on training questions, below which the trees are chosen


@dataclass(frozen=True)
class Judged:
    """One set.

    Attributes:
        figures: nDCG@10 by pipeline, on the questions that nothing was learned from.
        questions: how many those are.
        p_value: of the trees against hybrid, the paired test on them.
        learned: nDCG@10 of the order given and of the trees on training questions, each judged by other folds.
        learned_p: of the paired test on those.
    """

    figures: dict[str, float]
    questions: int
    p_value: float
    learned: dict[str, float]
    learned_p: float

    @property
    def single(self) -> float:
        """The better of BM25 and dense search."""
        return max(self.figures["bm25"], self.figures["dense"])

    @property
    def chosen(self) -> str:
        """The pipeline that training questions speak for."""
        better = self.learned["reranked"] > self.learned["first"] and self.learned_p < SURE
        return TREES if better else "hybrid"


def measure() -> list[Row]:
    """The English sets: a quarter of an hour, most of it for the 18,000 questions of MetaTool."""
    judged = {}
    for name in ENGLISH:
        logger.info("bench retrieval: boosted trees on %s", name)
        judged[name] = measure_set(name)
    return rows_of(judged)


def measure_set(name: str) -> Judged:
    """Train the trees of a run and judge them beside its other pipelines."""
    plan = Plan(load_run(RUNS / f"{name}.yaml", FLAGS))
    result = plan.bring("evaluate_search").result
    learned: dict[str, Any] = plan.bring("boosted").result
    pair = {"hybrid", TREES}
    rows = [row for row in result["details"]["comparisons"] if row["metric"] == METRIC and {row["a"], row["b"]} == pair]
    return Judged(
        {pipeline: of[METRIC] for pipeline, of in result["figures"].items()},
        result["details"]["queries"],
        rows[0]["p_value"],
        learned["ndcg"],
        learned["compared"]["p_value"],
    )


def rows_of(judged: dict[str, Judged]) -> list[Row]:
    """The table of rows, by set; the last is over all of them."""
    rows = [
        Row(
            id=f"retrieval.boosted.{name}",
            what=f"nDCG@10 of boosted trees over hybrid's best 50 on {name}, {one.questions:,} questions that they did "
            "not learn from",
            value=round(one.figures[TREES], 4),
            unit="nDCG@10",
            peer=f"hybrid {one.figures['hybrid']:.4f}, p {one.p_value:.4f}; dense {one.figures['dense']:.4f}, bm25 "
            f"{one.figures['bm25']:.4f}; training questions by folds: {one.learned['reranked']:.4f} against "
            f"{one.learned['first']:.4f}, p {one.learned_p:.4f}",
        )
        for name, one in judged.items()
    ]
    gains = {name: 100 * (one.figures[one.chosen] / one.single - 1) for name, one in judged.items()}
    told = ", ".join(f"{name} {judged[name].chosen} {gain:+.2f}%" for name, gain in gains.items())
    rows.append(
        Row(
            id="retrieval.chosen_english",
            what="the pipeline that training questions choose, hybrid or boosted trees, above the better of BM25 and "
            "dense search, nDCG@10, mean of the English sets",
            value=round(float(np.mean(list(gains.values()))), 2),
            unit="%",
            at_least=5.0,
            reach=10.0,
            peer=told,
        )
    )
    return rows
