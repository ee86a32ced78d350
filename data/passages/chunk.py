"""Documents to passages: spans of text that an encoder can read whole."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data.passages import Cut, Span
from data.passages.config import ChunkConfig
from data.passages.fixed import Starts, cut_fixed, word_starts
from data.passages.recursive import cut_recursive
from data.passages.text import passage_text
from data.passages.writer import SCHEMA, PassageWriter, read_texts

__all__ = ["SCHEMA", "ChunkConfig", "chunk", "chunk_text", "cutter", "passage_text"]


TokenStarts = Callable[[Sequence[str]], list[Starts]]
"""Texts to the places where the tokens of each begin."""
Cutter = Callable[[Sequence[str]], list[list[Cut]]]
"""Texts to the passages of each."""


def chunk_text(text: str, config: ChunkConfig) -> list[Span]:
    """The passages of a text as half-open spans of characters, in order; tokens of strategy fixed are words here.

    Together they hold every character of the text but white space between passages. A text that is short enough is one
    passage, whole; so is an empty one.

    Raises:
        ValueError: if the strategy is semantic, which needs vectors of the text's sentences.
    """
    if config.strategy == "semantic":
        raise ValueError("strategy semantic cuts by vectors: see data.passages.chunk_semantic")
    return [span for span, _ in cutter(config, _words)([text])[0]]


def cutter(config: ChunkConfig, token_starts: TokenStarts) -> Cutter:
    """The function that cuts as configured; only strategy fixed uses ``token_starts``."""

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
    """The passages within a parent; a passage that is the whole parent has no parent."""
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
        config: how to cut; any strategy but semantic, which ``data.passages.chunk_semantic`` does.
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
