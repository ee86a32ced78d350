"""Documents to passages: stretches of text, told by their offsets, that an encoder can read whole."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.chunkers import Cut, Span
from data.chunkers.fixed import Starts, cut_fixed, word_starts
from data.chunkers.recursive import cut_recursive
from data.chunkers.tables import SCHEMA, PassageWriter, read_texts

__all__ = ["SCHEMA", "ChunkConfig", "chunk", "chunk_text", "cutter", "passage_text"]

Strategy = Literal["recursive", "fixed", "semantic", "hierarchical"]
READS: dict[Strategy, frozenset[str]] = {
    "recursive": frozenset({"max_chars", "overlap_chars"}),
    "fixed": frozenset({"max_tokens", "overlap_tokens"}),
    "semantic": frozenset({"max_chars", "min_chars", "percentile"}),
    "hierarchical": frozenset({"max_chars", "overlap_chars", "parent_chars"}),
}
READ_BY_ALL = frozenset({"with_title", "partition_rows"})


class ChunkConfig(StageConfig):
    """How documents are cut."""

    strategy: Strategy = Field(
        "recursive",
        description="recursive cuts at paragraphs, sentences, lines, words; fixed after as many tokens; semantic where "
        "adjacent sentences part; hierarchical like recursive, but search answers with the larger stretch around",
    )
    max_chars: int | None = Field(
        1000,
        ge=50,
        description="longest passage, in characters; the default encoder reads 256 tokens, about 1,100 characters "
        "of English; null keeps each document whole, and the encoder reads its beginning",
    )
    overlap_chars: int = Field(100, ge=0, description="characters that a passage repeats of the one before it, at most")
    max_tokens: int = Field(
        200, ge=8, description="fixed: longest passage, in the encoder's tokens (or words, where it has no tokenizer)"
    )
    overlap_tokens: int = Field(20, ge=0, description="fixed: tokens that a passage repeats of the one before, at most")
    min_chars: int = Field(200, ge=1, description="semantic: shortest passage that a parting of sentences ends")
    percentile: float = Field(
        90.0, ge=0, le=100, description="semantic: sentences part where their distance is above this of the document's"
    )
    parent_chars: int = Field(
        4000, ge=100, description="hierarchical: longest stretch that search answers with, in characters"
    )
    with_title: bool = Field(True, description="whether the document's title is embedded with each of its passages")
    partition_rows: int = Field(
        2048, ge=1, description="most passages in a partition, the unit of embedding and of resuming"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        reads = READS[self.strategy] | READ_BY_ALL | {"strategy"}
        for key, field in type(self).model_fields.items():
            if key not in reads and getattr(self, key) != field.default:
                readers = " and ".join(strategy for strategy, keys in READS.items() if key in keys)
                raise ValueError(f"{key} is read by strategy {readers} only, and the strategy is {self.strategy}")
        for unit in ("chars", "tokens"):
            longest, overlap = getattr(self, f"max_{unit}"), getattr(self, f"overlap_{unit}")
            if f"overlap_{unit}" in reads and longest is not None and overlap * 4 > longest:
                raise ValueError(f"overlap_{unit} is at most a quarter of max_{unit} ({longest}), got {overlap}")
        if self.strategy in ("semantic", "hierarchical") and self.max_chars is None:
            raise ValueError(f"strategy {self.strategy} needs max_chars")
        if self.strategy == "semantic" and self.min_chars * 2 > (self.max_chars or 0):
            raise ValueError(f"min_chars is at most half of max_chars ({self.max_chars}), got {self.min_chars}")
        if self.strategy == "hierarchical" and self.parent_chars < (self.max_chars or 0):
            raise ValueError(f"parent_chars is at least max_chars ({self.max_chars}), got {self.parent_chars}")
        return self

    @property
    def needs_encoder(self) -> bool:
        """Whether where to cut depends on the run's encoder."""
        return self.strategy in ("fixed", "semantic")

    def identity(self) -> dict[str, Any]:
        """What the strategy reads; the default's name is left out, so that artifacts made before it had one hold."""
        reads = READS[self.strategy] | READ_BY_ALL
        kept = {key: value for key, value in super().identity().items() if key in reads}
        return kept if self.strategy == "recursive" else {"strategy": self.strategy, **kept}


TokenStarts = Callable[[Sequence[str]], list[Starts]]
"""Texts to the places where the tokens of each begin."""
Cutter = Callable[[Sequence[str]], list[list[Cut]]]
"""Texts to the passages of each."""


def passage_text(title: str, text: str) -> str:
    """What is embedded, and weighed by BM25, for a passage."""
    return f"{title}\n{text}" if title and text else title or text


def passage_texts(titles: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """What ``passage_text`` gives for each of n passages, strings of shape (n,)."""
    both = pc.and_(pc.not_equal(titles, ""), pc.not_equal(texts, ""))
    return pc.binary_join_element_wise(titles, texts, pc.if_else(both, "\n", ""))


def chunk_text(text: str, config: ChunkConfig) -> list[Span]:
    """The passages of a text as half-open spans of characters, in order; tokens of strategy fixed are words here.

    Together they hold every character of the text but white space between passages. A text that is short enough is one
    passage, whole; so is an empty one.

    Raises:
        ValueError: if the strategy is semantic, which needs vectors of the text's sentences.
    """
    if config.strategy == "semantic":
        raise ValueError("strategy semantic cuts by vectors: see data.chunkers.sentences")
    return [span for span, _ in cutter(config, _words)([text])[0]]


def cutter(config: ChunkConfig, token_starts: TokenStarts) -> Cutter:
    """The function that cuts as configured; ``token_starts`` is asked by strategy fixed only."""

    def recursive(text: str) -> list[Cut]:
        return [
            (span, None) for span in cut_recursive(text, config.max_chars or max(len(text), 1), config.overlap_chars)
        ]

    def hierarchical(text: str) -> list[Cut]:
        return [
            cut
            for parent in cut_recursive(text, config.parent_chars, 0)
            for cut in _children(text, parent, config.max_chars or 0, config.overlap_chars)
        ]

    def fixed(texts: Sequence[str]) -> list[list[Cut]]:
        cuts = zip(texts, token_starts(texts), strict=True)
        return [
            [(span, None) for span in cut_fixed(text, starts, config.max_tokens, config.overlap_tokens)]
            for text, starts in cuts
        ]

    if config.strategy == "fixed":
        return fixed
    one = hierarchical if config.strategy == "hierarchical" else recursive
    return lambda texts: [one(text) for text in texts]


def _words(texts: Sequence[str]) -> list[Starts]:
    return [word_starts(text) for text in texts]


def _children(text: str, parent: Span, max_chars: int, overlap_chars: int) -> list[Cut]:
    """The passages within a parent; one that is all of it has none."""
    start, end = parent
    spans = cut_recursive(text[start:end], max_chars, overlap_chars)
    if len(spans) == 1:
        return [(parent, None)]
    return [((start + a, start + b), parent) for a, b in spans]


def chunk(documents: Path, config: ChunkConfig, out: Path, token_starts: TokenStarts | None = None) -> dict[str, Any]:
    """Cut every document and write passages in partitions.

    The same documents and config give the same partitions, so later stages can resume by their names. Memory holds one
    partition and one batch of documents.

    Args:
        documents: the table's folder.
        config: how to cut; any strategy but semantic, which ``data.chunkers.sentences`` does.
        out: the artifact's folder; the passages go to ``passages/`` in it, with a column
            ``title`` beside the table's own: what ``passage_text`` puts before the text; parents to ``parents/``, where
            the strategy makes any.
        token_starts: where the tokens of texts begin; strategy fixed only, which counts words where it is None.

    Returns:
        ``documents``, ``passages``, ``partitions`` and ``longest_chars``; with strategy hierarchical ``parents``.
    """
    cut = cutter(config, token_starts or _words)
    writer = PassageWriter(out, config.partition_rows, config.with_title, parents=config.strategy == "hierarchical")
    for batch in read_texts(documents):
        for (id_, title, text), cuts in zip(batch, cut([text for _, _, text in batch]), strict=True):
            writer.add(id_, title, text, cuts)
    return writer.close()
