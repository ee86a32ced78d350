"""Custom encoders, named by an import path."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.encoders.config import PluginConfig
from data.encoders.model_config import PLUGIN_KEY
from data.encoders.protocol import Encoded, Encoder, Vectors
from data.errors import InputError
from data.imports import load
from data.matrices import unit_rows
from data.measuring import Reporting
from data.words import count_words


class PluginEncoder:
    """Adds to a custom encoder what it may leave out: unit length, counts, a fingerprint.

    Args:
        name: its import path.
        encoder: has ``dim`` and ``encode(texts) -> (n, dim)``; may have ``encode_queries``,
            ``fingerprint``, ``precision``, ``cosine_to_fp32`` and ``count_tokens(texts) -> (n,)``.
        code: digest of its code; with the name it is the fingerprint of an encoder that has none.
    """

    def __init__(self, name: str, encoder: Any, code: str = "") -> None:  # noqa: ANN401 - whatever the user's function returns
        self._name = name
        self._encoder = encoder
        self._reporting = Reporting(f"tokens of {name}")
        self.dim = int(encoder.dim)
        self.fingerprint = str(getattr(encoder, "fingerprint", f"{name} {code}".strip()))
        self.precision = str(getattr(encoder, "precision", "own"))
        self.cosine_to_fp32 = float(getattr(encoder, "cosine_to_fp32", 1.0))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of unit length; a vector of zeros stays one.

        Raises:
            InputError: if the encoder returns another shape than (n, dim), or values that are not finite.
        """
        return self._checked(texts, self._encoder.encode)

    def _checked(self, texts: Sequence[str], encode: Callable[[list[str]], Any]) -> Vectors:
        vectors: Vectors = np.array(encode(list(texts)), dtype=np.float32)
        if vectors.shape != (len(texts), self.dim) or not np.isfinite(vectors).all():
            raise InputError(
                f"encoder {self._name}: {len(texts)} texts gave an array of shape {vectors.shape}"
                f"{'' if np.isfinite(vectors).all() else ' with values that are not finite'}",
                f"Let its encode return finite numbers of shape (texts, {self.dim}).",
            )
        return unit_rows(vectors, out=vectors)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, by the encoder's own ``encode_queries`` where it has one."""
        return self._checked(texts, getattr(self._encoder, "encode_queries", self._encoder.encode))

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with their tokens; words are counted where the encoder counts none, or fails to."""
        return Encoded(self.encode(texts), self._count(texts), 0.0)

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions with their tokens, counted in the same way."""
        return Encoded(self.encode_queries(texts), self._count(texts), 0.0)

    def _count(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        tokens = count_words(texts)
        if hasattr(self._encoder, "count_tokens"):
            with self._reporting.guard():
                counted = np.asarray(self._encoder.count_tokens(list(texts)), dtype=np.int32)
                if counted.shape != (len(texts),):
                    raise ValueError(f"count_tokens of {len(texts)} texts gave an array of shape {counted.shape}")
                tokens = counted
        return tokens


def load_plugin(config: PluginConfig, batch_tokens: int, threads: int | None) -> Encoder:
    """Call the user's function with the config and wrap what it returns; a SentenceTransformer runs as ours do.

    Raises:
        InputError: if there is no such function, or what it returns is no encoder.
    """
    encoder = load(PLUGIN_KEY, config.model)(config)
    if any(kind.__name__ == "SentenceTransformer" for kind in type(encoder).__mro__):
        from data.encoders.transformer.encoder import SentenceEncoder
        from data.encoders.transformer.models import bounded

        return SentenceEncoder.of_model(
            bounded(encoder, config.model, config.max_length), config, batch_tokens, threads
        )
    if not (hasattr(encoder, "dim") and callable(getattr(encoder, "encode", None))):
        raise InputError(
            f"encoder.model: {config.model} returned {type(encoder).__name__}, which lacks `dim` or `encode`",
            "Return an object with `dim` and `encode(texts)`.",
        )
    return PluginEncoder(config.model, encoder, config.code())
