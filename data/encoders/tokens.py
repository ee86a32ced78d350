"""Vectors of a text's tokens: what a transformer says of each token before pooling, for late interaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.batching import Positions, token_batches
from data.encoders import Encoder, Vectors
from data.encoders.sentence import SentenceEncoder
from data.errors import InputError


@dataclass(frozen=True)
class TokenVectors:
    """Vectors of the tokens of N texts, one text after the other.

    Args:
        vectors: float32 of shape (T, dim), unit length.
        starts: where each text begins, and T at the end: int64 of shape (N + 1,). No text is without a token.
    """

    vectors: Vectors
    starts: npt.NDArray[np.int64]

    def each(self) -> list[Vectors]:
        """Token vectors of each text, float32 of shape (tokens, dim)."""
        return np.split(self.vectors, self.starts[1:-1]) if len(self.starts) > 1 else []


class TokenEncoder:
    """Takes token vectors from a sentence encoder, in its batches and its threads.

    Args:
        encoder: the sentence encoder; its heads (pooling and what follows) are not used.
        max_tokens: most tokens kept of a text, its first ones; as many as the model reads where None.
        project: applied to the unit vectors of a batch, (tokens, width) -> (tokens, dim) of unit length.

    Raises:
        InputError: if the encoder is none of sentence-transformers' and shows no tokens.
    """

    def __init__(
        self, encoder: Encoder, max_tokens: int | None = None, project: Callable[[Vectors], Vectors] | None = None
    ) -> None:
        if not isinstance(encoder, SentenceEncoder):
            raise InputError(
                f"late: the encoder {encoder.fingerprint} gives a text's vector but not those of its tokens",
                "Late interaction takes a sentence-transformers model as encoder.model; or leave `late` out.",
            )
        self._encoder = encoder
        self._special = np.array(sorted(encoder.special_tokens), dtype=np.int64)
        self._max_tokens = max_tokens
        self._project = project

    def encode(self, texts: Sequence[str]) -> TokenVectors:
        """Token vectors of texts, special tokens and padding left out.

        A text that is nothing but special tokens (an empty one) keeps them: it must have a place in the index too.
        """
        tokens = self._encoder.tokenise(texts)
        batches = token_batches(np.fromiter(map(len, tokens), np.int64, len(tokens)), self._encoder.batch_tokens)
        of_text: list[Any] = [None] * len(tokens)

        def work(batch: Positions) -> list[Vectors]:
            made = self._forward([tokens[i] for i in batch])
            if not all(np.isfinite(vectors).all() for vectors in made):
                beginning = texts[int(batch[0])][:60]
                raise FloatingPointError(
                    f"the model gave token vectors that are not finite, in a batch of {len(batch)} texts that begins "
                    f"with {beginning!r}"
                )
            return made

        for batch, made in zip(batches, self._encoder.side_by_side(work, batches), strict=True):
            for position, vectors in zip(batch, made, strict=True):
                of_text[position] = vectors
        starts = np.concatenate([[0], np.cumsum([len(vectors) for vectors in of_text], dtype=np.int64)])
        whole = np.concatenate(of_text) if of_text else np.empty((0, 0), np.float32)
        return TokenVectors(whole, starts.astype(np.int64))

    def _forward(self, tokens: Sequence[Sequence[int]]) -> list[Vectors]:
        """Token vectors of each text of one batch, computed in the calling thread."""
        import torch

        with torch.inference_mode():
            features = self._encoder.transform(tokens)
            kept = self._kept(features["input_ids"].cpu().numpy(), features["attention_mask"].cpu().numpy() > 0)
            states = features["token_embeddings"][torch.from_numpy(kept).to(self._encoder.device)]
            unit: Vectors = torch.nn.functional.normalize(states, dim=1).cpu().numpy()
        projected = unit if self._project is None else self._project(unit)
        return np.split(projected, np.cumsum(kept.sum(axis=1))[:-1])

    def _kept(self, numbers: npt.NDArray[np.int64], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which positions of (texts, longest) hold a token that counts."""
        words = present & ~np.isin(numbers, self._special)
        kept: npt.NDArray[np.bool_] = np.where(words.any(axis=1, keepdims=True), words, present)
        if self._max_tokens is not None:
            kept &= np.cumsum(kept, axis=1) <= self._max_tokens
        return kept
