"""What every encoder is, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """Vectors of some texts, and what it took to make them.

    Args:
        vectors: float32 of shape (n, dim), unit length, in the order of the texts.
        tokens: int32 of shape (n,), tokens read of each text, special tokens included.
        padding_share: share of the computed token positions that were padding.
        dropped: int32 of shape (n,), tokens cut off each text that was longer than the model reads, estimated for
            texts far beyond that; empty where the encoder does not count them.
        oom_retries: how many times a batch did not fit in memory and was computed in halves, or on the CPU.
    """

    vectors: Vectors
    tokens: npt.NDArray[np.int32]
    padding_share: float
    dropped: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    oom_retries: int = 0


class Encoder(Protocol):
    """Turns texts to unit vectors.

    ``fingerprint`` is equal for encoders whose vectors may be compared; ``precision`` is what it computes in, and
    ``cosine_to_fp32`` the smallest cosine found between its vectors and those of fp32.
    """

    fingerprint: str
    dim: int
    precision: str
    cosine_to_fp32: float

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, float32 of shape (n, dim), unit length, in the order of the texts."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions to them: the same but for a model that puts another prompt before questions."""
        ...

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of documents with the tokens and the padding they took."""
        ...

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions with the tokens and the padding they took."""
        ...
