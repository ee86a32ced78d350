"""What a cross-encoder is worth on held-out questions: beside the first stage, and with its word for a prior.

Shapes: V held-out questions, D documents of the longest list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.calibration import fit
from evaluation.ranking import evaluate_ranking
from evaluation.significance import paired_difference
from retrieval.blend import Blend, Curve
from training.cross_encoder.lists import RankedList
from training.verdict import in_words, is_better

Logits = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

# Weights that are tried, as multiples of the spread of a list's logits: of the cross-encoder alone, and more and more
# of the first stage, up to where its order is hardly changed.
TRIED = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Verdict:
    """A trained cross-encoder beside the first stage, on held-out questions.

    Attributes:
        blend: with the weight that is best on all of them, and curves of theirs.
        first: mean nDCG@10 of the first stage.
        alone: of the order of the logits.
        reranked: of logits and ranks together, where the weight for a question was chosen by other questions.
        compared: ``reranked`` less ``first``: difference, its 95% interval, p-value of a paired randomisation test.
    """

    blend: Blend
    first: float
    alone: float
    reranked: float
    compared: dict[str, float]

    @property
    def beats(self) -> bool:
        """Whether it is better than the first stage, and not by chance."""
        return is_better(self.compared)

    def __str__(self) -> str:
        return in_words(self.first, self.reranked, self.compared, "the first stage")


def verdict(lists: Sequence[RankedList], logits_VD: Logits, seed: int) -> Verdict:
    """Judge logits of held-out lists.

    The weight is chosen on the questions that the verdict is on; so each half of them is judged with the weight that is
    best on the other half.

    Args:
        lists: V of them.
        logits_VD: of the documents that the first stage found, in its order.
        seed: of the halves and of the test.
    """
    found = [logits_VD[n, : one.found] for n, one in enumerate(lists)]
    weights = tried_weights(found)
    by_weight = np.array([ndcg(lists, [Blend(w).scores(one, True) for one in found]) for w in weights])
    first = ndcg(lists, [-np.arange(len(one), dtype=np.float64) for one in found])
    half = np.zeros(len(lists), bool)
    half[np.random.default_rng(seed).permutation(len(lists))[::2]] = True
    reranked = np.empty(len(lists))
    for part in (half, ~half):
        judge_by = by_weight[:, ~part] if (~part).any() else by_weight
        reranked[part] = by_weight[int(judge_by.mean(axis=1).argmax()), part]
    weight = float(weights[int(by_weight.mean(axis=1).argmax())])
    grades = [one.grades[: one.found] for one in lists]
    blend = Blend(
        weight=weight,
        alone=_curve(found, grades),
        after=_curve([Blend(weight).scores(one, True) for one in found], grades),
    )
    return Verdict(
        blend=blend,
        first=float(first.mean()),
        alone=float(by_weight[0].mean()),
        reranked=float(reranked.mean()),
        compared=paired_difference(reranked, first, seed=seed),
    )


def best_ndcg(lists: Sequence[RankedList], logits_VD: Logits) -> dict[str, float]:
    """Mean nDCG@10 of held-out lists: reranked with the best weight, and by the logits alone."""
    found = [logits_VD[n, : one.found] for n, one in enumerate(lists)]
    means = [float(ndcg(lists, [Blend(w).scores(one, True) for one in found]).mean()) for w in tried_weights(found)]
    return {"reranked": max(means), "alone": means[0]}


def tried_weights(found: Sequence[npt.NDArray[np.floating]]) -> Values:
    """Weights of the first stage, from none, in units of the mean spread of the lists' logits."""
    spreads = [float(np.std(one)) for one in found if len(one) > 1]
    return np.array(TRIED) * (float(np.mean(spreads)) if spreads else 1.0)


def ndcg(lists: Sequence[RankedList], scores: Sequence[npt.NDArray[np.floating]]) -> Values:
    """nDCG@10 of each list in the order of its scores; equal ones keep the order of the first stage: float64 (V,)."""
    run, qrels = {}, {}
    for n, (one, of_one) in enumerate(zip(lists, scores, strict=True)):
        name = f"{n:09d}"  # figures come in the order of the names
        order = np.argsort(-of_one, kind="stable")
        run[name] = {str(one.places[place]): -float(rank) for rank, place in enumerate(order)}
        qrels[name] = {str(place): int(grade) for place, grade in zip(one.places, one.grades, strict=True)}
    return evaluate_ranking(run, qrels).per_query["ndcg@10"]


def _curve(scores: Sequence[npt.NDArray[np.floating]], grades: Sequence[npt.NDArray[np.int64]]) -> Curve:
    """Platt's curve of the scores of all lists; the plain sigmoid where all documents answer, or none."""
    x, y = np.concatenate(scores), np.concatenate(grades) > 0
    if y.all() or not y.any():
        return Curve()
    fitted = fit(x, y, method="platt")
    return Curve(fitted.slope, fitted.intercept)
