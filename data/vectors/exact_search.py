"""Search by comparison with every stored vector, in any storage."""

import numpy as np
import numpy.typing as npt

from data.vectors.quantise import Codes, Floats, Storage, decode, encode

Rows = npt.NDArray[np.int64]


_SEARCHED_AT_ONCE = 16_384  # rows of codes; as float32 of 384 dimensions 25 MB


def search(questions: Floats, codes: Codes, storage: Storage, k: int) -> tuple[Floats, Rows]:
    """The rows most similar to each question, by comparing it with every row.

    int8 multiplies integers, question and row both coded; binary counts unequal bits; float16 and float8 are compared
    with the question in float32.

    Args:
        questions: float32 (q, dim), unit length.
        codes: (n, ``width(dim, storage)``).
        storage: form of the codes.
        k: rows wanted of each; fewer where there are fewer.

    Returns:
        Similarities, float32 (q, k), best first: cosines, or with binary 1 - 2 * unequal / dim; and the rows, int64
        (q, k). Rows of equal similarity are in order of their number; which of several equal ones are left out at
        the k-th place is not defined.
    """
    k = min(k, len(codes))
    best: Floats = np.empty((len(questions), 0), np.float32)
    rows: Rows = np.empty((len(questions), 0), np.int64)
    for start in range(0, len(codes), _SEARCHED_AT_ONCE):
        similarities = _similarities(questions, codes[start : start + _SEARCHED_AT_ONCE], storage)
        found = np.argpartition(-similarities, min(k, similarities.shape[1]) - 1, axis=1)[:, :k]
        best = np.hstack([best, np.take_along_axis(similarities, found, axis=1)])
        rows = np.hstack([rows, found + start])
        order = np.lexsort((rows, -best))[:, :k]
        best, rows = np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return best, rows


def _similarities(questions: Floats, codes: Codes, storage: Storage) -> Floats:
    """float32 (q, n)."""
    if storage == "binary":
        asked, stored = _words(encode(questions, "binary")), _words(codes)
        unequal = np.stack([np.bitwise_count(stored ^ row).sum(axis=1, dtype=np.int32) for row in asked])
        return np.asarray(1 - 2 * unequal / questions.shape[1], dtype=np.float32)
    if storage == "int8":
        # NumPy has no fast product of integers; float32 is exact while sums stay below 2**24: to 1,040 dimensions.
        asked, stored = encode(questions, "int8").astype(np.float32), codes.astype(np.float32)
        lengths = np.outer(np.linalg.norm(asked, axis=1), np.linalg.norm(stored, axis=1))
        return np.asarray((asked @ stored.T) / np.maximum(lengths, 1e-12), dtype=np.float32)
    return np.asarray(questions @ decode(codes, storage).T, dtype=np.float32)


def _words(bits: Codes) -> Codes:
    """Packed bits in words of 64 where they fill them: an eighth of the numbers to count in."""
    return np.ascontiguousarray(bits).view(np.uint64) if bits.shape[1] % 8 == 0 else bits


def rescore(questions: Floats, rows: Rows, vectors: Floats, k: int) -> tuple[Floats, Rows]:
    """Reorder the results of a search over codes by the full vectors.

    Args:
        questions: float32 (q, dim), unit length, as the vectors are.
        rows: int64 (q, found), more than k each for this to be of use.
        vectors: float32 (n, dim), of more dimensions than the codes if these were reduced; where memory-mapped, only
            rows that were found are read.
        k: rows wanted of each.

    Returns:
        Cosines, float32 (q, k), best first, and rows, int64 (q, k).
    """
    cosines = np.stack([vectors[found] @ question for question, found in zip(questions, rows, strict=True)])
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, order, axis=1), np.take_along_axis(rows, order, axis=1)


def overlap(found: Rows, exact: Rows) -> float:
    """Mean share of each question's rows in ``exact``, (q, k), that are in its row of ``found`` too: recall at k."""
    shared = [len(np.intersect1d(some, true)) for some, true in zip(found, exact, strict=True)]
    return round(float(np.mean(shared) / exact.shape[1]), 4)
