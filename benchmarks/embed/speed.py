"""The encoder alone: beside sentence-transformers with its defaults, against the machine's own limit, and its padding.

What was tried and left out is at the head of ``benchmarks/embed/suite.py``.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.embed.matrix_rate import flop_of, matrix_rate
from benchmarks.embed.texts import docstrings, sample
from benchmarks.rows import Row, median_ratio
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Vectors
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.models import find_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DOCUMENTS = 192  # for the comparison: ten seconds a round
DOCUMENT_CHARACTERS = 1000  # what the chunker cuts by default
SHORT_TEXTS = 768
SHORT_CHARACTERS = 130
ROUNDS = 3
PARTITION = 2048


def measure() -> list[Row]:
    """Every row; about three minutes on two cores."""
    import torch
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(TransformerConfig())
    assert isinstance(encoder, SentenceEncoder)
    peer = SentenceTransformer(find_model(TransformerConfig().model))
    corpus, texts = sample(DOCUMENTS)
    documents = [text[:DOCUMENT_CHARACTERS] for text in texts]
    _, more = sample(SHORT_TEXTS)
    long, seconds, lengths = _beside(encoder, peer, documents, f"{corpus}, cut to {DOCUMENT_CHARACTERS} characters")
    short, _, _ = _beside(encoder, peer, [text[:SHORT_CHARACTERS] for text in more], "short texts")
    shape = peer[0].auto_model.config
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(encoder.precision, torch.float32)
    limit = matrix_rate(shape, dtype)
    return [
        long.model_copy(update={"id": "embed.speed_ratio", "at_least": 2.3, "reach": 3.0}),
        short.model_copy(update={"id": "embed.speed_ratio_short", "at_least": 2.5, "reach": 4.0}),
        *_cosines(encoder, peer, documents),
        Row(
            id="embed.share_of_matrix_rate",
            what="matrix products that our encoder gets done per second, of what the machine does in the same shapes "
            f"when it does nothing else, in {encoder.precision}",
            value=100 * flop_of(shape, lengths) / seconds / limit,
            unit="%",
            at_least=65.0,
            reach=85.0,
            peer=f"matrix products alone: {limit / 1e9:,.0f} GFLOP/s",
        ),
        _padding(encoder),
    ]


def _beside(
    encoder: SentenceEncoder, peer: "SentenceTransformer", texts: Sequence[str], corpus: str
) -> tuple[Row, float, list[int]]:
    """The row of the two speeds, without its bounds; our seconds; tokens of each text."""
    lengths = encoder.encode_counted(texts).tokens.tolist()
    peer.encode(list(texts[:32]))
    ratio, ours_s, peer_s = median_ratio(lambda: encoder.encode(texts), lambda: peer.encode(list(texts)), ROUNDS)
    row = Row(
        id="embed.speed_ratio",
        what="documents per second of ours over those of sentence-transformers with its defaults, "
        f"{len(texts)} {corpus}, of {sum(lengths) / len(texts):.0f} tokens",
        value=ratio,
        unit="times",
        peer=f"SentenceTransformer.encode: {len(texts) / peer_s:.1f} documents/s; "
        f"ours, {encoder.precision}: {len(texts) / ours_s:.1f}",
    )
    return row, ours_s, lengths


def _cosines(encoder: SentenceEncoder, peer: "SentenceTransformer", texts: Sequence[str]) -> Iterator[Row]:
    cosine = (encoder.encode(texts) * peer.encode(list(texts), normalize_embeddings=True)).sum(axis=1)
    for name, value in (("min", cosine.min()), ("mean", cosine.mean())):
        yield Row(
            id=f"embed.cosine_{name}",
            what=f"{name} of the cosine between our vectors and theirs, the same documents",
            value=float(value),
            unit="cosine",
            at_least=0.999,
            peer="SentenceTransformer.encode, fp32",
        )


def _padding(encoder: SentenceEncoder) -> Row:
    """The built-in corpus in random order, a partition at a time, through all of the encoder but its forward pass."""

    def nothing(batches: Iterable[Sequence[Sequence[int]]], prompt: Sequence[int]) -> Iterator[tuple[Vectors, int]]:
        return ((np.zeros((len(batch), encoder.dim), np.float32), 0) for batch in batches)

    encoder.__dict__["_compute"] = nothing
    texts = list(docstrings())
    random.Random(0).shuffle(texts)
    windows = [encoder.encode_counted(texts[start : start + PARTITION]) for start in range(0, len(texts), PARTITION)]
    tokens = np.array([window.tokens.sum() for window in windows], dtype=np.float64)
    area = tokens / (1 - np.array([window.padding_share for window in windows]))
    arrival = np.concatenate([window.tokens for window in windows])
    plain = [arrival[start : start + 32] for start in range(0, len(arrival), 32)]
    return Row(
        id="embed.padding_share",
        what=f"share of computed token positions that are padding, {len(texts):,} documents of the built-in corpus in "
        "random order",
        value=100 * float(1 - tokens.sum() / area.sum()),
        unit="%",
        at_most=5.0,
        peer="batches of 32 in order of arrival: "
        f"{100 * (1 - arrival.sum() / sum(len(b) * int(b.max()) for b in plain)):.0f}%",
    )
