"""The stub encoder, slow enough that something can happen to a job in the middle."""

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.embed.stub_encoder import StubEncoder
from data.encoders.config import EncoderConfig


class SlowEncoder(StubEncoder):
    """A third of a second for a partition."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, float32 of shape (n, 384)."""
        time.sleep(0.3)
        return super().encode(texts)


def load(config: EncoderConfig) -> SlowEncoder:
    """The function a run file names."""
    return SlowEncoder()
