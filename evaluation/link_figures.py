"""Figures of methods that score links: ranks, separation from non-links, and calibrated probabilities.

Shapes: L unordered test links, P judged pairs, N documents.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.files import whole_or_absent
from data.graph.graph import Graph
from data.progress import progress
from evaluation.calibration import brier, expected_calibration_error, fit, reliability
from evaluation.config import LinkJudging
from evaluation.link_questions import JudgedPairs, LinkQuestions, rows_at_once
from evaluation.links import LinkScores, both_directions, hit_curve, link_metrics, pair_scores, rank_links
from evaluation.significance import bootstrap_interval, paired_difference

Values = npt.NDArray[np.float64]

BUCKETS = (0, 1, 2, 4, 8, 16, 32, 64)  # lowest number of training links in each bucket of documents
RELATIONS_SHOWN = 20


@dataclass(frozen=True)
class Judged:
    """What was measured of one method.

    Attributes:
        name: of the method.
        figures: ``link_metrics``, ``mrr_low`` and ``mrr_high`` (95% bootstrap interval), ``heart_mrr``, ``auc``,
            ``ap``, ``ece`` and ``brier``; what cannot be measured is absent.
        ranks: float64 (2, L) of each test link in either direction.
        curve: points of Hit@k.
        calibration: figures of probabilities before and after calibration.
        seconds: that scoring and ranking took.
    """

    name: str
    figures: dict[str, float]
    ranks: Values
    curve: list[tuple[int, float]]
    calibration: dict[str, Any]
    seconds: float

    @property
    def reciprocal(self) -> Values:
        """float64 (L,): the mean of both directions' 1 / rank; the directions of a link are not independent."""
        return np.asarray((1.0 / self.ranks).mean(axis=0))


def judge(name: str, method: LinkScores, questions: LinkQuestions, known: Graph, config: LinkJudging) -> Judged:
    """Ask a method for all held-out links in both directions, and for the judged pairs.

    Args:
        name: of the method.
        method: that is judged.
        questions: the same for every method.
        known: graph of every known link of every split.
        config: cut-offs, sizes and seeds.
    """
    asked, answers = both_directions(questions.sources, questions.targets)
    rows = rows_at_once(config, known.num_nodes)
    started = time.perf_counter()
    with progress(f"evaluate {name}", len(np.unique(asked)), "documents") as counted:
        found = rank_links(method.rows, asked, answers, known, questions.hard, rows, counted.advance)
    scores = {
        part: pair_scores(method, pairs.sources, pairs.targets, known.num_nodes, rows)
        for part, pairs in (("valid", questions.valid), ("test", questions.test))
    }
    seconds = time.perf_counter() - started
    figures = link_metrics(found.ranks, config.cutoffs)
    ranks = found.ranks.reshape(2, -1)
    figures["mrr_low"], figures["mrr_high"] = bootstrap_interval(
        (1.0 / ranks).mean(axis=0), config.resamples, config.seed
    )
    if found.hard_rivals is not None:
        figures["heart_mrr"] = float((1.0 / (1.0 + found.hard_rivals.reshape(2, -1).sum(axis=0))).mean())
    figures.update(separation(scores["test"], questions.test))
    calibration = calibrated(scores, questions, method.logits)
    figures.update({key: calibration["after"][key] for key in ("ece", "brier")} if calibration else {})
    return Judged(name, figures, ranks, hit_curve(found.ranks, known.num_nodes), calibration, seconds)


def separation(scores: npt.NDArray[np.float32], pairs: JudgedPairs) -> dict[str, float]:
    """AUC and average precision of links against as many random non-links, as the literature on graphs reports them.

    Returns:
        ``auc``, the chance that a link scores above a non-link, ties half; ``ap``, the mean precision over the links.
        Nothing where the graph has no pair that is not linked.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    linked, scores = pairs.linked[~pairs.hard], scores[~pairs.hard]
    if linked.all() or not linked.any():
        return {}
    return {"auc": float(roc_auc_score(linked, scores)), "ap": float(average_precision_score(linked, scores))}


def calibrated(scores: Mapping[str, npt.NDArray[np.float32]], questions: LinkQuestions, logits: bool) -> dict[str, Any]:
    """Learn a calibrator on the validation pairs and measure it on the test pairs: one in three is a link.

    Args:
        scores: of the ``valid`` and ``test`` pairs.
        questions: the pairs.
        logits: whether the scores mean log odds, so that they are probabilities before calibration too.

    Returns:
        ``before`` (where the scores mean something) and ``after``, each with ``ece``, ``brier`` and ``reliability``;
        empty where one of the splits has only links, or none.
    """
    truth = questions.test.linked
    if any(pairs.linked.all() or not pairs.linked.any() for pairs in (questions.valid, questions.test)):
        return {}
    promised = {"after": fit(scores["valid"], questions.valid.linked)(scores["test"])}
    if logits:
        promised["before"] = 0.5 * (1.0 + np.tanh(0.5 * scores["test"].astype(np.float64)))
    return {
        when: {
            "ece": expected_calibration_error(probability, truth),
            "brier": brier(probability, truth),
            "reliability": reliability(probability, truth),
        }
        for when, probability in promised.items()
    }


def compare(
    judged: Sequence[Judged],
    questions: LinkQuestions,
    num_nodes: int,
    relation_names: Sequence[str],
    config: LinkJudging,
    model: str = "model",
    ablations: Sequence[str] = (),
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The table of all methods, and the details beside it.

    Args:
        judged: one of each method.
        questions: that they were asked.
        num_nodes: N.
        relation_names: of the graph.
        config: of the resampling.
        model: the method that is tested against the best of the others, where it is among them.
        ablations: methods that are parts of the model: in the table, but no baselines.

    Returns:
        Name -> figures; and how many links, the comparison with the best baseline, every method's Hit@k curve, its MRR
        by degree and by relation, calibration and seconds.
    """
    by_name = {one.name: one for one in judged}
    table = {name: one.figures for name, one in by_name.items()}
    details: dict[str, Any] = {
        "test_links": len(questions.sources),
        "documents": num_nodes,
        "hard_negatives": 0 if questions.hard is None else 2 * questions.hard.documents.shape[1],
        "curves": {name: one.curve for name, one in by_name.items()},
        "by_degree": by_degree(judged, questions),
        "by_relation": by_relation(judged, questions, relation_names),
        "calibration": {name: one.calibration for name, one in by_name.items() if one.calibration},
        "scoring_seconds": {name: round(one.seconds, 3) for name, one in by_name.items()},
    }
    baselines = [name for name in table if name not in (model, *ablations)]
    if model in table and baselines:
        best = max(baselines, key=lambda name: table[name]["mrr"])
        reciprocal = by_name[model].reciprocal, by_name[best].reciprocal
        details["comparison"] = {
            "best_baseline": best,
            "ratio": table[model]["mrr"] / table[best]["mrr"],
            **paired_difference(*reciprocal, config.resamples, config.seed),
        }
    return table, details


def save_ranks(judged: Sequence[Judged], questions: LinkQuestions, path: Path) -> None:
    """Keep every test link's ranks, for comparisons with other models: ``sources``, ``targets``, ``ranks/NAME``."""
    with whole_or_absent(path) as unfinished, unfinished.open("wb") as file:
        arrays: dict[str, Any] = {f"ranks/{one.name}": one.ranks for one in judged}
        np.savez_compressed(file, sources=questions.sources, targets=questions.targets, **arrays)


def by_degree(judged: Sequence[Judged], questions: LinkQuestions) -> list[dict[str, Any]]:
    """MRR of links by how many training links the end with fewer of them has; buckets without a link are left out."""
    bucket = np.searchsorted(BUCKETS, questions.degrees, side="right") - 1
    return [
        {"low": BUCKETS[number], "high": (*BUCKETS, None)[number + 1], **_mean(judged, bucket == number)}
        for number in np.unique(bucket).tolist()
    ]


def by_relation(
    judged: Sequence[Judged], questions: LinkQuestions, relation_names: Sequence[str]
) -> list[dict[str, Any]]:
    """MRR of links by relation, the commonest ``RELATIONS_SHOWN`` of them."""
    numbers, counts = np.unique(questions.relations, return_counts=True)
    commonest = numbers[np.argsort(-counts, kind="stable")][:RELATIONS_SHOWN]
    return [
        {"relation": relation_names[number], **_mean(judged, questions.relations == number)}
        for number in commonest.tolist()
    ]


def _mean(judged: Sequence[Judged], chosen: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {"links": int(chosen.sum()), "mrr": {one.name: float(one.reciprocal[chosen].mean()) for one in judged}}
