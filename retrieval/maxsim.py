"""MaxSim, the score of late interaction: each of a query's tokens finds its best token in a document; the sum counts.

Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over BERT",
SIGIR 2020, equation 3.
"""

import numpy as np
import numpy.typing as npt

from data.vectors.quantise import Codes, Floats, Storage, decode, width

Starts = npt.NDArray[np.int64]

# Tokens multiplied at once. A block of products should stay in the processor's cache until its maxima are taken: on two
# cores with 32 to 256 query tokens, 2,048 to 8,192 were as fast as each other and 512 half as fast.
BLOCK_TOKENS = 4096
BLOCK_QUERY_TOKENS = 256


def maxsim(
    queries_QD: Floats, query_starts: Starts, tokens_TC: Codes, starts: Starts, storage: Storage = "float32"
) -> Floats:
    """Score every query against every document.

    score(q, d) = sum over tokens i of q of max over tokens j of d of <q_i, d_j>

    Args:
        queries_QD: token vectors of M queries, one query after the other, float32 of shape (Q, D).
        query_starts: where each query begins among them, and Q at the end: int64 of shape (M + 1,).
        tokens_TC: token vectors of N documents, one document after the other: codes of ``quantise``, of shape
            (T, ``width(D, storage)``); float32 of shape (T, D) where that is the storage.
        starts: where each document begins among them, and T at the end: int64 of shape (N + 1,).
        storage: form of the codes; what decodes from float8, int8 and binary has unit length.

    Returns:
        float32 of shape (M, N). A query without tokens scores 0.

    Raises:
        ValueError: if the dimensions differ, or a document has no token: its maximum is not defined.
    """
    if queries_QD.ndim != 2 or tokens_TC.ndim != 2 or width(queries_QD.shape[1], storage) != tokens_TC.shape[1]:
        raise ValueError(f"queries {queries_QD.shape} and {storage} documents {tokens_TC.shape} differ in dimension")
    _check_starts("query_starts", query_starts, len(queries_QD))
    _check_starts("starts", starts, len(tokens_TC))
    if (np.diff(starts) == 0).any():
        raise ValueError(f"document {int(np.argmin(np.diff(starts)))} has no token")
    best_QN = np.empty((len(queries_QD), len(starts) - 1), dtype=np.float32)
    first = 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + BLOCK_TOKENS, side="right")) - 1)
        block_TD = decode(tokens_TC[starts[first] : starts[last]], storage)
        for row in range(0, len(queries_QD), BLOCK_QUERY_TOKENS):
            rows = slice(row, row + BLOCK_QUERY_TOKENS)
            products_QT = queries_QD[rows] @ block_TD.T
            best_QN[rows, first:last] = np.maximum.reduceat(products_QT, starts[first:last] - starts[first], axis=1)
        first = last
    return _sum_segments(best_QN, query_starts)


def _sum_segments(values_QN: Floats, starts: Starts) -> Floats:
    """Sum the rows of each segment; ``reduceat`` alone takes an empty segment for one of a row."""
    sums = np.zeros((len(starts) - 1, values_QN.shape[1]), dtype=np.float32)
    filled = np.flatnonzero(np.diff(starts))
    if len(filled):
        sums[filled] = np.add.reduceat(values_QN, starts[filled], axis=0)
    return sums


def _check_starts(name: str, starts: Starts, count: int) -> None:
    if starts.ndim != 1 or len(starts) == 0 or starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any():
        raise ValueError(f"{name} must rise from 0 to {count}")
