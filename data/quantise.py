"""Unit vectors in fewer bytes: float16, float8, int8 and bits, exact search over them, and rescoring with floats.

Every form is of a unit vector and decodes to one, so no length is stored: a scale that it would need is found again in
the length of the codes.
"""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import InputError

Storage = Literal["float32", "float16", "float8", "int8", "binary"]
Codes = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

STORAGES: tuple[Storage, ...] = get_args(Storage)
DTYPES: dict[Storage, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "float8": np.dtype(np.uint8),  # NumPy has no such float: its bytes
    "int8": np.dtype(np.int8),
    "binary": np.dtype(np.uint8),  # eight dimensions each, the first in the highest bit
}
# e4m3 reaches from 2**-9 to 448. Numbers of a unit vector are at most 1 and mostly far below 2**-4, so all are raised
# by a power of two, which costs nothing in precision.
_FLOAT8_SCALE = 256.0
_SEARCHED_AT_ONCE = 16_384  # rows of codes; as float32 of 384 dimensions 25 MB


def width(dim: int, storage: Storage) -> int:
    """Values that hold one vector, each of the storage's dtype."""
    return dim // 8 if storage == "binary" else dim


def bytes_per_vector(dim: int, storage: Storage) -> int:
    """Bytes of one vector's codes, before Parquet compresses them."""
    return width(dim, storage) * DTYPES[storage].itemsize


def check_dim(dim: int, storage: Storage) -> None:
    """Refuse bits that do not fill whole bytes.

    Raises:
        InputError: names the nearest dimensions that do.
    """
    if storage == "binary" and dim % 8:
        raise InputError(
            f"storage binary keeps eight dimensions a byte, and {dim} is no multiple of 8",
            f"Reduce to {dim - dim % 8 or 8} dimensions, or use another storage.",
        )


def encode(vectors: Floats, storage: Storage) -> Codes:
    """Codes of unit vectors.

    float8 is e4m3 without infinities (Micikevicius et al., FP8 Formats for Deep Learning, 2022), rounded to the nearest
    even. int8 spreads each vector over -127 to 127 by its own largest number. binary keeps signs; zero counts as
    negative.

    Args:
        vectors: float32 (n, dim), unit length or zero.
        storage: the form.

    Returns:
        (n, ``width(dim, storage)``) of ``DTYPES[storage]``. float32 is the array itself.

    Raises:
        InputError: if bits do not fill whole bytes.
    """
    check_dim(vectors.shape[1], storage)
    if storage == "float32":
        return vectors
    if storage == "float16":
        return vectors.astype(np.float16)
    if storage == "float8":
        import torch

        raised = torch.from_numpy(vectors * np.float32(_FLOAT8_SCALE))
        return np.asarray(raised.to(torch.float8_e4m3fn).view(torch.uint8).numpy())
    if storage == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
        return np.asarray(np.rint(vectors * (127.0 / largest)), dtype=np.int8)
    return np.packbits(vectors > 0, axis=1)


def decode(codes: Codes, storage: Storage) -> Floats:
    """Vectors of codes.

    Args:
        codes: as ``encode`` gives them; may be read-only.
        storage: their form.

    Returns:
        float32 (n, dim); float32 is the array itself, anything else a new one. From float8, int8 and binary of unit
        length, and zero where the codes are (bits cannot say zero).
    """
    if storage == "float32":
        return codes
    if storage == "float16":
        return codes.astype(np.float32)
    return _to_unit(_raw(codes, storage))


def _raw(codes: Codes, storage: Storage) -> Floats:
    """Codes as float32 numbers, right but for the length of each vector."""
    if storage == "float8":
        import torch

        copied = torch.from_numpy(np.array(codes))  # a view of a read-only array is more than torch takes quietly
        return np.asarray(copied.view(torch.float8_e4m3fn).to(torch.float32).numpy(), dtype=np.float32)
    if storage == "binary":
        return np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
    return codes.astype(np.float32)


def _to_unit(vectors: Floats) -> Floats:
    lengths = np.sqrt(np.vecdot(vectors, vectors))[:, None]
    lengths[lengths == 0] = 1.0
    np.divide(vectors, lengths, out=vectors)
    return vectors


def search(questions: Floats, codes: Codes, storage: Storage, k: int) -> tuple[Floats, Rows]:
    """The rows most similar to each question, by comparing it with every row.

    int8 multiplies integers, question and row both coded; binary counts unequal bits; float16 and float8 are compared
    with the question as it is.

    Args:
        questions: float32 (q, dim), unit length.
        codes: (n, ``width(dim, storage)``).
        storage: form of the codes.
        k: rows wanted of each; fewer where there are fewer.

    Returns:
        Similarities, float32 (q, k), best first: cosines, or with binary 1 - 2 * unequal / dim; and the rows, int64
        (q, k). Equal similarities stand by row number; which of those equal at the k-th place are in is left open.
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
    """Order what a search over codes found by the vectors themselves.

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
    """Mean share of each question's rows in ``exact``, (q, k), that stand in its row of ``found`` too: recall at k."""
    shared = [len(np.intersect1d(some, true)) for some, true in zip(found, exact, strict=True)]
    return round(float(np.mean(shared) / exact.shape[1]), 4)
