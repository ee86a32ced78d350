"""Whether our vectors equal those of the model's ``encode``: compared at load, on this machine, on fixed texts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from data.encoders.protocol import Vectors
from data.encoders.transformer.precision import SMALLEST_COSINE, TEXTS
from data.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def own_vectors(model: "SentenceTransformer", prompt: str) -> Vectors:
    """The model's own vectors of the fixed texts, in fp32, float32 of shape (n, dim), unit length.

    Two texts at a time: with little padding this takes a quarter of the time.
    """
    theirs = model.encode(list(TEXTS), prompt=prompt, batch_size=2, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(theirs, dtype=np.float32)


def check_against_model(ours: Callable[[Sequence[str]], Vectors], theirs: Vectors, name: str) -> None:
    """Refuse a model whose vectors differ from ours, rather than embed a corpus wrongly.

    Args:
        ours: encodes texts, unit length.
        theirs: the model's own vectors of the fixed texts.
        name: the model's, for the message.

    Raises:
        InputError: if the smallest cosine between our vectors and the model's is below 0.999.
    """
    cosine = (ours(TEXTS) * theirs).sum(axis=1)
    worst = int(np.argmin(np.nan_to_num(cosine, nan=-1.0)))
    if not cosine[worst] >= SMALLEST_COSINE:
        raise InputError(
            f"encoder.model: vectors of {name} are not those of SentenceTransformer.encode: smallest cosine "
            f"{cosine[worst]:.5f}, needed {SMALLEST_COSINE}; mean {cosine.mean():.5f} over {len(TEXTS)} fixed texts",
            "Give an import path to a custom encoder that wraps the model, such as my_package.encoders:load.",
        )
