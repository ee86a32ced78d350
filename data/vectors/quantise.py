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
