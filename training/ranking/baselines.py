"""Rankers of capabilities that nothing is trained for, or little: what a trained one is always shown beside.

Each is a function from numbers of intents to scores of all capabilities, made from the traces that may be seen.

Shapes: Q intents, C capabilities, B intents asked about, D dimensions, V terms.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.lexical import BM25, Language, SparseVector, Tokenizer, mean_length
from data.matrices import orthonormal_columns, unit_rows
from evaluation.capability_metrics import Score
from training.ranking.experience import Counts, Experience, Floats, Numbers

PROJECTED = 64  # dimensions of the random projection


def by_keys(experience: Experience, keys_CD: Floats, factor_C: Floats | None = None) -> Score:
    """Inner product of an intent's vector with a key of each capability, times a factor of the capability's own."""

    def score(intents: Numbers) -> Floats:
        scores_BC: Floats = experience.intents[intents] @ keys_CD.T
        return _runnable(experience, scores_BC if factor_C is None else scores_BC * factor_C)

    return score


def popularity(experience: Experience, numbers: Numbers) -> Score:
    """How often each has succeeded, whatever is asked."""
    succeeded = Counts.of(experience, numbers).succeeded.astype(np.float32)
    return lambda intents: _runnable(experience, np.tile(succeeded, (len(intents), 1)))


def cosine(experience: Experience) -> Score:
    """Cosine of both texts."""
    return by_keys(experience, experience.capabilities)


def cosine_times_rate(experience: Experience, numbers: Numbers) -> Score:
    """Cosine, from 0 to 1, times the success rate of the capability."""
    rate = Counts.of(experience, numbers).rate.astype(np.float32)

    def score(intents: Numbers) -> Floats:
        return _runnable(experience, (1 + experience.intents[intents] @ experience.capabilities.T) / 2 * rate)

    return score


def random_projection(experience: Experience, seed: int = 0) -> Score:
    """Cosine after a random projection to ``PROJECTED`` dimensions: what a model of that width is worth untrained."""
    dim = experience.capabilities.shape[1]
    directions = orthonormal_columns(dim, min(PROJECTED, dim), seed).astype(np.float32)
    asked_QP, keys_CP = unit_rows(experience.intents @ directions), unit_rows(experience.capabilities @ directions)
    return lambda intents: _runnable(experience, np.asarray(asked_QP[intents] @ keys_CP.T))


def bm25(experience: Experience, language: Language = "english") -> Score:
    """Okapi BM25 of the words of an intent in what a capability says of itself (Robertson and Zaragoza, 2009)."""
    texts = experience.catalogue.texts
    tokenizer = Tokenizer(language)
    weights = BM25(tokenizer, mean_length(texts, tokenizer))
    terms: dict[int, int] = {}
    documents_CV = _rows([weights.passage(text) for text in texts], terms, grow=True)
    asked_QV = _rows([weights.query(text) for text in experience.traces.intents], terms, grow=False)
    found_V = np.bincount(documents_CV.indices, minlength=len(terms))
    idf_V = np.log1p((len(texts) - found_V + 0.5) / (found_V + 0.5)).astype(np.float32)
    weighted_CV = documents_CV.copy()
    weighted_CV.data *= idf_V[documents_CV.indices]
    weighted_VC = sp.csr_array(weighted_CV.T)
    return lambda intents: _runnable(experience, (asked_QV[intents] @ weighted_VC).toarray())


def _rows(vectors: Sequence[SparseVector], terms: dict[int, int], grow: bool) -> sp.csr_array:
    """Sparse vectors as float32 CSR; terms get columns as they come, where they may."""
    indptr, columns, values = [0], list[int](), list[float]()
    for vector in vectors:
        for term, value in zip(vector.indices.tolist(), vector.values.tolist(), strict=True):
            column = terms.setdefault(term, len(terms)) if grow else terms.get(term)
            if column is not None:
                columns.append(column)
                values.append(value)
        indptr.append(len(columns))
    shape = (len(vectors), max(len(terms), 1))
    return sp.csr_array((np.array(values, np.float32), np.array(columns, np.int64), np.array(indptr)), shape)


def _runnable(experience: Experience, scores_BC: npt.NDArray[np.floating[Any]]) -> Floats:
    scores: Floats = np.asarray(scores_BC, np.float32)
    scores[:, ~experience.catalogue.can_run] = -np.inf
    return scores
