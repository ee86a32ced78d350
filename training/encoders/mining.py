"""Near misses of a batch's texts.

Shapes: N documents, K near misses of each, B pairs of a batch.
"""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def draw_near(near_NK: npt.NDArray[np.int32], anchors_B: Numbers, each: int, rng: np.random.Generator) -> Numbers:
    """Some near misses of each anchor, each document once: int64 (H,), at most ``each`` times B."""
    near_BK = near_NK[anchors_B]
    keys = rng.random(near_BK.shape)
    keys[near_BK < 0] = 2
    chosen = np.take_along_axis(near_BK, np.argsort(keys, axis=1)[:, :each], axis=1)
    return np.unique(chosen[chosen >= 0]).astype(np.int64)
