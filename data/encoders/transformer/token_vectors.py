"""Vectors of a text's tokens: the output of a transformer before pooling, for late interaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.batching import Positions, token_batches
from data.encoders.config import EncoderConfig, OnnxConfig, TorchConfig, alternatives
from data.encoders.protocol import Encoder, Vectors
from data.encoders.transformer.encoder import SentenceEncoder
from data.errors import InputError

_REMEDY = "Name a sentence-transformers model in encoder.model, with encoder.backend: torch; or leave `late` out."


class Projection(Protocol):
    """Brings vectors of one encoder to fewer dimensions; ``data.vectors.projection`` has one."""

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder that it was made for."""
        ...

    @property
    def dim(self) -> int:
        """Dimensions it brings vectors to."""
        ...

    def __call__(self, vectors: Vectors) -> Vectors:
        """Unit vectors, float32 (n, dim), of float32 (n, from_dim)."""
        ...


@dataclass(frozen=True)
class TokenVectors:
    """Vectors of the tokens of N texts, one text after the other.

    Args:
        vectors: float32 of shape (T, dim), unit length.
        starts: where each text begins, and T at the end: int64 of shape (N + 1,). No text is without a token.
        oom_retries: how many times a batch did not fit in memory and was computed in halves.
        read: int32 of shape (N,), tokens read of each text, special ones and the prompt included; empty where the
            vectors come from a table.
    """

    vectors: Vectors
    starts: npt.NDArray[np.int64]
    oom_retries: int = 0
    read: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def each(self) -> list[Vectors]:
        """Token vectors of each text, float32 of shape (tokens, dim)."""
        return np.split(self.vectors, self.starts[1:-1]) if len(self.starts) > 1 else []


class TokenEncoder:
    """Takes token vectors from a sentence encoder, in its batches and its threads.

    Args:
        encoder: the sentence encoder; its heads (pooling and what follows) are not used.
        max_tokens: most tokens kept of a text, its first ones; as many as the model reads where None.
        projection: what the vectors lose dimensions by.

    Raises:
        InputError: if the encoder gives no token vectors, or the projection was made for another one.
    """

    def __init__(self, encoder: Encoder, max_tokens: int | None = None, projection: Projection | None = None) -> None:
        if not isinstance(encoder, SentenceEncoder):
            raise InputError(
                f"late: the encoder {encoder.fingerprint} gives a text's vector but not those of its tokens", _REMEDY
            )
        if projection is not None and projection.encoder != encoder.fingerprint:
            raise InputError(
                f"late: token vectors were made by the encoder {projection.encoder}, this is {encoder.fingerprint}",
                "Use the encoder that made them, or embed and index again.",
            )
        self._encoder = encoder
        self._max_tokens = max_tokens
        self._projection = projection
        self._special = np.array(sorted(encoder.batches.tokenise.special), dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> TokenVectors:
        """Token vectors of documents, without those of special tokens, of the prompt and of padding.

        A text that has no others (an empty one) keeps them: it must have a place in the index too. A text that is
        longer than the model reads is cut.

        Raises:
            InputError: if the model's vectors are not finite, or a text does not fit in memory.
        """
        return self._encode(texts, self._encoder.batches.prompts.document)

    def encode_queries(self, texts: Sequence[str]) -> TokenVectors:
        """Token vectors of questions: as ``encode``, behind the prompt for them."""
        return self._encode(texts, self._encoder.batches.prompts.query)

    def _encode(self, texts: Sequence[str], prompt: str) -> TokenVectors:
        from data.encoders.transformer.memory import Tokens, forward_within_memory

        tokens = self._encoder.batches.tokenise(texts, prompt).numbers
        ahead = len(self._encoder.batches.tokenise.prompt_numbers(prompt))
        kept = [self._kept(text, ahead) for text in tokens]
        counts = np.fromiter(map(len, kept), np.int64, len(kept))
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        batches = token_batches(lengths, self._encoder.batches.batch_tokens)

        def work(batch: Positions) -> tuple[Vectors, int]:
            def forward(some: Tokens) -> Vectors:
                return self._forward(some, [self._kept(text, ahead) for text in some])

            return forward_within_memory([tokens[i] for i in batch], forward, None)

        of_text: list[Any] = [None] * len(tokens)
        retries = 0
        for batch, (flat, again) in zip(batches, self._encoder.batches.side_by_side(work, batches), strict=True):
            retries += again
            ends = np.cumsum(counts[batch])
            self._encoder.batches.check_finite(np.add.reduceat(flat, ends - counts[batch]), batch, texts)
            for position, vectors in zip(batch, np.split(flat, ends[:-1]), strict=True):
                of_text[position] = vectors
        nothing = np.empty((0, 0 if self._projection is None else self._projection.dim), np.float32)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        vectors = np.concatenate(of_text) if of_text else nothing
        return TokenVectors(vectors, starts, retries, lengths.astype(np.int32))

    def _forward(self, tokens: Sequence[Sequence[int]], kept: Sequence[Positions]) -> Vectors:
        """Vectors of the kept tokens of one batch, text after text, float32 (tokens, dim), in the calling thread."""
        import torch

        longest = max(map(len, tokens))
        chosen = np.zeros((len(tokens), longest), dtype=bool)
        for row, (text, places) in enumerate(zip(tokens, kept, strict=True)):
            chosen[row, places + (longest - len(text) if self._encoder.batches.tokenise.pads_left else 0)] = True
        with torch.inference_mode():
            states = self._encoder.states(tokens)
            states = states[torch.from_numpy(chosen).to(states.device)]
            unit: Vectors = torch.nn.functional.normalize(states, dim=1).cpu().numpy()
        return unit if self._projection is None else self._projection(unit)

    def _kept(self, tokens: Sequence[int], ahead: int) -> Positions:
        """Places of the tokens that count among a text's, ``ahead`` of which are the prompt's."""
        words = np.flatnonzero(~np.isin(tokens, self._special)).astype(np.int64)
        words = words[words >= ahead]
        return (words if len(words) else np.arange(len(tokens)))[: self._max_tokens]


def refuse_without_tokens(config: EncoderConfig) -> None:
    """Refuse, before any work starts, an encoder or a fallback of it that has no token vectors.

    A custom encoder is checked when it is loaded: a SentenceTransformer has them.

    Raises:
        InputError: names the key of the encoder, and what is allowed.
    """
    for number, encoder in enumerate(alternatives(config)):
        key = f"encoder.fallback.{number - 1}" if number else "encoder"
        if not isinstance(encoder, TorchConfig):
            named = (
                f"{key}.backend: onnx" if isinstance(encoder, OnnxConfig) else f"{key}.{encoder.kind}: {encoder.label}"
            )
            raise InputError(f"late: {named} gives a text's vector but not those of its tokens", _REMEDY)
