"""An encoder that costs nothing: vectors from a hash of the text. It shows what everything around an encoder costs."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data.encoders import EncoderConfig


class StubEncoder:
    """384 numbers drawn from a generator that the text seeds."""

    dim = 384
    fingerprint = "stub"

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, float32 of shape (n, 384)."""
        seeds = (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) for text in texts)
        vectors = [np.random.default_rng(seed).standard_normal(self.dim, dtype=np.float32) for seed in seeds]
        return np.stack(vectors) if vectors else np.empty((0, self.dim), np.float32)


def load(config: EncoderConfig) -> StubEncoder:
    """The function a run file names: ``model: benchmarks.stub_encoder:load``."""
    return StubEncoder()
