"""Vectors of intents that were embedded for learning: the last tier behind the caches, which asks no encoder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.cache.keys import normalise, text_hashes
from data.capabilities.vectors import manifest_of, vectors_of

Vectors = npt.NDArray[np.float32]


class StoredIntents:
    """Finds the vector of an intent by its text; runs of white space count as one space.

    Args:
        folder: that ``embed_catalogue`` wrote.
        intents: the texts of its ``intents.npy``, in its order.
    """

    def __init__(self, folder: Path, intents: Sequence[str]) -> None:
        self.fingerprint = str(manifest_of(folder)["fingerprint"])
        self._vectors = vectors_of(folder, "intents")
        hashes = text_hashes([normalise(text) for text in intents])
        self._row_of = {row.tobytes(): number for number, row in enumerate(hashes)}

    def __call__(self, intent: str) -> Vectors | None:
        """The unit vector of an intent, float32 (D,); None where it is not among them."""
        row = self._row_of.get(text_hashes([normalise(intent)]).tobytes())
        return None if row is None else np.array(self._vectors[row], np.float32)
