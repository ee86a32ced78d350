"""Filtered, relation-aware ranks of held-out triples among all documents, in the terms of knowledge graph completion.

Shapes: T triples (head, relation, tail), Q = 2T questions, B questions of a batch, N documents, R relations. A question
about a head goes through the way back of its relation, number ``relation + R``: all questions ask for tails.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import GraphArtifact
from data.graph.neighbourhoods import spans
from data.progress import progress
from data.schema import SPLITS
from evaluation.blocks import DenseBlock, Nodes, block_of
from evaluation.config import LinkJudging
from evaluation.link_figures import Judged
from evaluation.link_questions import JudgedPairs, LinkQuestions
from evaluation.links import hit_curve, link_metrics
from evaluation.significance import bootstrap_interval

TripleScorer = Callable[[Nodes, Nodes], npt.NDArray[np.float32]]
"""Scores of all documents as answers: heads and relations, int64 (B,) each -> float32 (B, N)."""


def both_ways(triples: Nodes, relations: int) -> Nodes:
    """Triples (T, 3) and their ways back, (2T, 3): (head, relation, tail) and (tail, relation + R, head)."""
    back = np.stack([triples[:, 2], triples[:, 1] + relations, triples[:, 0]], axis=1)
    return np.concatenate([triples, back])


class Answers:
    """The known answers of questions.

    Args:
        triples: int64 (K, 3), of relations 0 to 2R - 1, each question's answers among them.
        relations: R.
    """

    def __init__(self, triples: Nodes, relations: int) -> None:
        self._ways = 2 * relations
        codes = triples[:, 0] * self._ways + triples[:, 1]
        order = np.lexsort((triples[:, 2], codes))
        self._codes, self._answers = codes[order], triples[order, 2]

    def of(self, heads: Nodes, relations: Nodes) -> tuple[Nodes, Nodes]:
        """Known answers of B questions: the question's place and the answer, int64 (E,) each."""
        codes = heads * self._ways + relations
        first, last = (np.searchsorted(self._codes, codes, side=side) for side in ("left", "right"))
        question = np.repeat(np.arange(len(codes)), last - first)
        return question, self._answers[spans(first, last - first)]


def types_of(triples: Nodes, relations: int, num_nodes: int) -> npt.NDArray[np.bool_]:
    """Which documents answer each relation somewhere in the training triples, bool (2R, N).

    The local closed world of Krompaß, Baier and Tresp (ISWC 2015): types without a schema.
    """
    seen = np.zeros((2 * relations, num_nodes), np.bool_)
    asked = both_ways(triples, relations)
    seen[asked[:, 1], asked[:, 2]] = True
    return seen


@dataclass(frozen=True)
class TripleQuestions:
    """What every scorer of triples is asked.

    Attributes:
        triples: int64 (T, 3), the held-out triples.
        known: answers of this split and those before it, which do not compete.
        types: as of ``types_of``, of the training triples.
        degrees: int64 (T,) training links of the end that has fewer.
        relations: R.
    """

    triples: Nodes
    known: Answers
    types: npt.NDArray[np.bool_]
    degrees: Nodes
    relations: int

    def as_links(self) -> LinkQuestions:
        """The same for tables and reports of links; no pairs are judged beside the triples."""
        none = np.zeros(0, np.int64)
        pairs = JudgedPairs(none, none, none.astype(bool), none.astype(bool))
        heads, relation, tails = self.triples.T
        return LinkQuestions(heads, tails, relation, self.degrees, None, pairs, pairs)


def triple_questions(graph: GraphArtifact, part: str = "test") -> TripleQuestions:
    """Every triple of a split: none is left out, not those of unseen documents either.

    Known answers are those of this split and the splits before it: what is chosen on validation triples has not been
    told of test triples, not even that they are no negatives.
    """
    relations = len(graph.relation_names)
    train, asked = graph.triples("train"), graph.triples(part)
    everything = np.concatenate([graph.triples(split) for split in SPLITS[: SPLITS.index(part) + 1]])
    degrees = np.bincount(train[:, [0, 2]].ravel(), minlength=len(graph.ids))
    return TripleQuestions(
        asked,
        Answers(both_ways(everything, relations), relations),
        types_of(train, relations, len(graph.ids)),
        degrees[asked[:, [0, 2]]].min(axis=1),
        relations,
    )


def triple_ranks(
    score: TripleScorer,
    questions: TripleQuestions,
    batch_size: int = 256,
    ranked: Callable[[int], None] = lambda questions: None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rank of each answer among all documents, and among those of the relation's types.

    Filtered (Bordes et al., NeurIPS 2013): other known answers of the same question do not compete; the head itself
    does, since a triple may join a document to itself. Ties get the realistic rank, the mean of the optimistic and the
    pessimistic one (Berrendorf et al., 2020).

    Args:
        score: the scorer that is judged.
        questions: T triples, both ways.
        batch_size: questions scored at once; memory is so many rows of N scores.
        ranked: called after each batch with the number of its questions.

    Returns:
        float64 (2, T) twice, the answers (head, relation, ?) first, then (?, relation, tail).

    Raises:
        ValueError: if the scorer returns another shape or NaN, or an answer's score is infinite.
    """
    asked = both_ways(questions.triples, questions.relations)
    order = np.argsort(asked[:, 1], kind="stable")  # one relation's types serve a run of rows
    ranks = np.empty((2, len(asked)))
    for start in range(0, len(asked), batch_size):
        batch = order[start : start + batch_size]
        heads, relation, answers = asked[batch].T
        rows = np.arange(len(batch))
        scores = np.array(block_of(score(heads, relation), len(batch), questions.types.shape[1]).scores)
        wanted = scores[rows, answers]
        if not np.isfinite(wanted).all():
            raise ValueError("the score of a true answer is infinite")
        scores[questions.known.of(heads, relation)] = -np.inf
        scores[rows, answers] = -np.inf
        ranks[0, batch] = _rank(scores, wanted)
        for way in np.unique(relation).tolist():
            of_way = np.flatnonzero(relation == way)
            scores[of_way[0] : of_way[-1] + 1, ~questions.types[way]] = -np.inf
        ranks[1, batch] = _rank(scores, wanted)
        ranked(len(batch))
    return ranks[0].reshape(2, -1), ranks[1].reshape(2, -1)


def _rank(rivals: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    above, level = DenseBlock(rivals).rivals(np.arange(len(wanted)), wanted)
    return 1.0 + above + level / 2.0


def judge_triples(name: str, score: TripleScorer, questions: TripleQuestions, config: LinkJudging) -> Judged:
    """Ask a scorer for both ends of all held-out triples.

    Args:
        name: of the method.
        score: that is judged.
        questions: the same for every method.
        config: cut-offs, batch size, resampling.

    Returns:
        Figures of ``link_metrics``, at 1 and 3 too, with ``mrr_low`` and ``mrr_high`` (95% bootstrap interval over
        triples), and ``mrr_typed``, the MRR among documents of the relation's types.
    """
    started = time.perf_counter()
    with progress(f"evaluate {name}", 2 * len(questions.triples), "questions") as counted:
        ranks, typed = triple_ranks(score, questions, config.batch_sources, counted.advance)
    seconds = time.perf_counter() - started
    figures = link_metrics(ranks.ravel(), sorted({1, 3, *config.cutoffs}))
    figures["mrr_low"], figures["mrr_high"] = bootstrap_interval(
        (1.0 / ranks).mean(axis=0), config.resamples, config.seed
    )
    figures["mrr_typed"] = float((1.0 / typed).mean())
    return Judged(name, figures, ranks, hit_curve(ranks.ravel(), questions.types.shape[1]), {}, seconds)


def frequency(triples: Nodes, relations: int, num_nodes: int) -> TripleScorer:
    """How often a document answers the relation in the training triples, whoever asks.

    Args:
        triples: int64 (K, 3), the training triples.
        relations: R.
        num_nodes: N.
    """
    _, relation, answers = both_ways(triples, relations).T
    ones = np.ones(len(answers), np.float32)
    counts = sp.csr_array(sp.coo_array((ones, (relation, answers)), shape=(2 * relations, num_nodes)))

    def score(heads: Nodes, asked: Nodes) -> npt.NDArray[np.float32]:
        return np.asarray(counts[asked].toarray(), np.float32)

    return score


def nearest_text(vectors: npt.NDArray[np.float32]) -> TripleScorer:
    """Cosine of the text vectors, whatever the relation.

    Args:
        vectors: float32 (N, dim) of unit length; may be memory-mapped.
    """

    def score(heads: Nodes, asked: Nodes) -> npt.NDArray[np.float32]:
        return np.asarray(vectors[heads] @ vectors.T, np.float32)

    return score
