"""Keys of cached vectors: the encoder's fingerprint and a hash of the text."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Kind = Literal["query", "document"]
Hashes = npt.NDArray[np.uint8]
HASH_BYTES = 16


def normalise(text: str, fold_case: bool = False) -> str:
    """The text with runs of white space as one space, none at its ends, in Unicode's form NFC.

    Args:
        text: any text.
        fold_case: whether letters lose their case, by Unicode's full case folding.
    """
    plain = " ".join(text.split())
    if fold_case:
        plain = unicodedata.normalize("NFC", plain).casefold()
    return plain if plain.isascii() else unicodedata.normalize("NFC", plain)


def text_hashes(texts: Sequence[str]) -> Hashes:
    """BLAKE2b of each text, unchanged, uint8 of shape (n, 16); lone surrogates are hashed like other characters."""
    digests = [
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest() for text in texts
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES)


def cache_keys(kind: Kind, fingerprint: str, hashes: Hashes) -> list[bytes]:
    """Keys of texts: they differ for another encoder, or a new version of one.

    Args:
        kind: queries and documents are kept apart: they differ in lifetime and in precision.
        fingerprint: of the encoder.
        hashes: uint8 of shape (n, 16); the last 16 bytes of each key.
    """
    prefix = f"catena:{kind}:{fingerprint}:".encode()
    return [prefix + row.tobytes() for row in hashes]


def hashes_of(keys: Sequence[bytes]) -> Hashes:
    """The text's hash in each key, uint8 of shape (n, 16)."""
    return np.frombuffer(b"".join(key[-HASH_BYTES:] for key in keys), np.uint8).reshape(-1, HASH_BYTES)


def to_arrow(hashes: Hashes) -> pa.Array:
    """Hashes as an Arrow column of 16 bytes a row, without a copy."""
    rows = np.ascontiguousarray(hashes)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(HASH_BYTES), len(rows), [None, pa.py_buffer(rows)])


def from_arrow(column: pa.ChunkedArray) -> Hashes:
    """An Arrow column of 16 bytes a row, without nulls, as uint8 of shape (n, 16)."""
    parts = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * HASH_BYTES :][: len(chunk) * HASH_BYTES]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty(0, np.uint8), *parts]).reshape(-1, HASH_BYTES)
