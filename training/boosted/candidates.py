"""What a pipeline finds for questions, as features and grades, and how good an order of it is.

Shapes: Q questions, N candidates of all of them, F features, D candidates of the longest list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from retrieval.features import NAMES, CandidateFeatures, Features
from training.cross_encoder.lists import Search, searched
from training.cross_encoder.questions import Question

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

CUTOFF = 10  # of nDCG, which decides


@dataclass(frozen=True)
class Candidates:
    """The candidates of questions, one list after another, each in the order in which they were found.

    Attributes:
        features_NF: float32.
        grade_N: int64, 0 for what does not answer.
        size_Q: int64, number of candidates of each question, at least 1.
        ideal_Q: float64, DCG@10 of the best order of all documents that answer, found or not.
        group_Q: int64; questions of one group share answers, directly or by way of others of it.
    """

    features_NF: Features
    grade_N: Numbers
    size_Q: Numbers
    ideal_Q: Values
    group_Q: Numbers

    def of(self, questions: Numbers) -> "Candidates":
        """Those of some questions, by their places."""
        ends = np.cumsum(self.size_Q)
        rows = [np.arange(end - size, end) for end, size in zip(ends[questions], self.size_Q[questions], strict=True)]
        kept = np.concatenate(rows) if rows else np.empty(0, np.int64)
        return Candidates(
            self.features_NF[kept],
            self.grade_N[kept],
            self.size_Q[questions],
            self.ideal_Q[questions],
            self.group_Q[questions],
        )

    @property
    def answered(self) -> int:
        """Number of questions with an answer among their candidates."""
        question_N = np.repeat(np.arange(len(self.size_Q)), self.size_Q)
        return len(np.unique(question_N[self.grade_N > 0]))

    @cached_property
    def place_QD(self) -> Numbers:
        """Where the candidates of each question are: int64, -1 beyond its last."""
        column = np.arange(self.size_Q.max(initial=0))
        first_Q = np.cumsum(self.size_Q) - self.size_Q
        return np.where(column < self.size_Q[:, None], first_Q[:, None] + column, -1)

    def ndcg(self, score_N: Values) -> Values:
        """nDCG@10 of each question in the order of scores; equal ones keep the order given: float64 (Q,).

        The same as of ``evaluation.metrics``, for all lists at once: it is wanted after every tree.
        """
        there_QD = self.place_QD >= 0
        score_QD = np.where(there_QD, score_N[self.place_QD], -np.inf)
        order_QK = np.argsort(-score_QD, axis=1, kind="stable")[:, :CUTOFF]
        gain_QD = np.where(there_QD, self.grade_N[self.place_QD], 0)
        discount_K = 1 / np.log2(np.arange(2, order_QK.shape[1] + 2))
        return np.asarray(np.take_along_axis(gain_QD, order_QK, axis=1) @ discount_K / self.ideal_Q)


def find_candidates(questions: Sequence[Question], search: Search, features: CandidateFeatures) -> Candidates:
    """Ask a pipeline.

    Args:
        questions: to learn from; one for which nothing is found is left out.
        search: the steps of the pipeline before the ranker.
        features: of candidates.
    """
    made, grades, sizes, asked = list[Features](), list[int](), list[int](), list[Question]()
    for question, hits in zip(questions, searched(questions, search, "boosted"), strict=True):
        if hits:
            made.append(features(question.text, hits))
            grades += [question.relevant.get(hit.document_id, 0) for hit in hits]
            sizes.append(len(hits))
            asked.append(question)
    return Candidates(
        features_NF=np.concatenate(made) if made else np.empty((0, len(NAMES)), np.float32),
        grade_N=np.array(grades, np.int64),
        size_Q=np.array(sizes, np.int64),
        ideal_Q=np.array([_best_dcg(one) for one in asked]),
        group_Q=groups_of([one.relevant for one in asked]),
    )


def groups_of(answers: Sequence[Iterable[str]]) -> Numbers:
    """Questions that share an answer, directly or by way of others, have the same number: int64 (Q,).

    Args:
        answers: ids of the documents that answer each question.
    """
    places: dict[str, int] = {}
    ends = [(q, places.setdefault(id_, len(places))) for q, ids in enumerate(answers) for id_ in ids]
    question, document = np.array(ends, np.int64).reshape(-1, 2).T
    nodes = len(answers) + len(places)
    joined = sp.coo_array((np.ones(len(ends)), (question, len(answers) + document)), (nodes, nodes))
    return connected_components(joined, directed=False)[1][: len(answers)].astype(np.int64)


def _best_dcg(question: Question) -> float:
    grades = np.sort(np.array([*question.relevant.values()], np.float64))[::-1][:CUTOFF]
    return float(grades @ (1 / np.log2(np.arange(2, len(grades) + 2))))
