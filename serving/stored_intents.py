"""Vectors of intents that were embedded for learning: a tier behind the process's own that asks no encoder."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.cache.keys import text_hashes
from data.capabilities.vectors import hashes_of, manifest_of, vectors_of

Vectors = npt.NDArray[np.float32]


class StoredIntents:
    """Finds the vector of an intent by its text.

    Args:
        folder: that ``embed_catalogue`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.fingerprint = str(manifest_of(folder)["fingerprint"])
        self._vectors, hashes = vectors_of(folder, "intents"), hashes_of(folder, "intents")
        self._row_of = {} if hashes is None else {row.tobytes(): number for number, row in enumerate(hashes)}

    def __call__(self, intent: str) -> Vectors | None:
        """The unit vector of an intent, float32 (D,); None where it is not among them."""
        row = self._row_of.get(text_hashes([intent]).tobytes())
        return None if row is None else np.array(self._vectors[row], np.float32)
