"""Features of what a pipeline has found for a question: what a learned ranker goes by, in training and in search alike.

Shapes: N candidates of a question, F features, S steps, T distinct terms of the question, M terms of all candidates.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from data.lexical import Tokenizer
from retrieval.facts import Dates, DocumentFacts
from retrieval.hits import SearchHit

Features = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

STEPS = ("dense", "bm25", "hybrid", "tokens", "links", "cross-encoder")
OF_A_STEP = ("score", "reciprocal_rank", "relative", "has")
OF_WORDS = ("title_share", "text_share", "question_terms", "text_terms")
OF_DOCUMENTS = ("degree", "pagerank", "age_days")
NAMES: tuple[str, ...] = (
    *(f"{step.replace('-', '_')}_{what}" for step in STEPS for what in OF_A_STEP),
    *OF_WORDS,
    *OF_DOCUMENTS,
)
"""The F features in order. A ranker that was trained with others is refused."""

RISING = frozenset(name for name in NAMES if name.endswith(("_score", "_reciprocal_rank", "_relative", "_share")))
"""Features of which more speaks for a document."""

_PLACE = {step: place for place, step in enumerate(STEPS)}


class CandidateFeatures:
    """Makes the features of a question's candidates.

    Of each step of the pipeline that ran for the question: its raw score, one over its rank, its score scaled so that
    the best candidate has 1 and the last 0, and whether it has the candidate. A candidate that the step lacks has no
    score (NaN) and 0 in the others; of a step that did not run, all four are NaN. Of words: the share of the question's
    distinct terms that title and passage have, and the numbers of terms of question and passage. Of the document:
    degree and PageRank in the corpus's links, and its age; NaN where they are not known.

    Args:
        tokenizer: of the index.
        facts: of the documents' links; None where there are none.
        dates: where the date of a document is; None where it has none.
    """

    def __init__(self, tokenizer: Tokenizer, facts: DocumentFacts | None = None, dates: Dates | None = None) -> None:
        self._tokenizer, self._facts, self._dates = tokenizer, facts, dates

    def __call__(self, question: str, hits: Sequence[SearchHit]) -> Features:
        """Features of the candidates, in their order: float32 (N, F).

        Args:
            question: its text.
            hits: what was found for it, with the places that each step gave it.
        """
        rows = [*_of_steps(hits), *self._of_words(question, hits), *self._of_documents(hits)]
        return np.stack(rows, axis=1).astype(np.float32)

    def _of_words(self, question: str, hits: Sequence[SearchHit]) -> list[Values]:
        terms_T = np.unique(np.array(self._tokenizer.numbers(question), np.int64))
        titles = [self._tokenizer.numbers(hit.title) if hit.title != hit.document_id else [] for hit in hits]
        texts = [self._tokenizer.numbers(hit.text) for hit in hits]
        lengths = np.array([len(one) for one in texts], np.float64)
        asked = np.full(len(hits), float(len(terms_T)))
        return [term_shares(terms_T, titles), term_shares(terms_T, texts), asked, lengths]

    def _of_documents(self, hits: Sequence[SearchHit]) -> list[Values]:
        unknown = np.full(len(hits), np.nan)
        linked = [unknown, unknown] if self._facts is None else self._facts.of([hit.document_id for hit in hits])
        ages = unknown if self._dates is None else self._dates.ages([hit.metadata for hit in hits])
        return [*linked, ages]


def _of_steps(hits: Sequence[SearchHit]) -> list[Values]:
    """The features ``OF_A_STEP`` of all steps, in the order of ``NAMES``: float64 (N,) each."""
    score_SN = np.full((len(STEPS), len(hits)), np.nan)
    rank_SN = np.full((len(STEPS), len(hits)), np.inf)
    for n, hit in enumerate(hits):
        for place in hit.trail:
            if (step := _PLACE.get(place.step)) is not None:
                score_SN[step, n], rank_SN[step, n] = place.score, place.rank
    has_SN = np.isfinite(rank_SN)
    low_S = np.where(has_SN, score_SN, np.inf).min(axis=1, initial=np.inf)
    high_S = np.where(has_SN, score_SN, -np.inf).max(axis=1, initial=-np.inf)
    width_S = np.where(high_S > low_S, high_S - low_S, 1.0)
    base_S = np.where(high_S > low_S, low_S, high_S - 1.0)  # where all scores are the same, all are the best
    relative_SN = np.where(has_SN, (score_SN - base_S[:, None]) / width_S[:, None], 0.0)
    features_SKN = np.stack([score_SN, 1 / rank_SN, relative_SN, has_SN.astype(np.float64)], axis=1)
    features_SKN[~has_SN.any(axis=1)] = np.nan
    return list(features_SKN.reshape(len(STEPS) * len(OF_A_STEP), len(hits)))


def term_shares(terms_T: npt.NDArray[np.int64], texts: Sequence[Sequence[int]]) -> Values:
    """Which share of a question's terms each text has: float64 (N,); NaN where the question has none.

    Args:
        terms_T: distinct terms, ascending.
        texts: terms of the N texts.
    """
    if not len(terms_T):
        return np.full(len(texts), np.nan)
    lengths = [len(one) for one in texts]
    flat_M = np.fromiter(chain.from_iterable(texts), np.int64, sum(lengths))
    known_M = np.isin(flat_M, terms_T)
    row = np.repeat(np.arange(len(texts)), lengths)[known_M]
    both = np.unique(row * len(terms_T) + np.searchsorted(terms_T, flat_M[known_M]))
    return np.bincount(both // len(terms_T), minlength=len(texts)) / len(terms_T)
