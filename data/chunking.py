"""Documents to passages: stretches of text, told by their offsets, that an encoder can read whole."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.schema import PASSAGES, partition_name, passage_id, read_batches, write_partition

# Where a text is cut best, best first: between paragraphs, after a sentence of any script, between lines and words.
BOUNDARIES = (
    re.compile(r"\n\s*\n"),
    re.compile(r"[.!?\u05c3\u061f\u06d4\u0964]['\")\]\u201d\u2019]*\s+|[\u3002\uff01\uff1f]"),
    re.compile(r"\n"),
    re.compile(r"\s+"),
)
SCHEMA = PASSAGES.append(pa.field("title", pa.string(), nullable=False))


class ChunkConfig(StageConfig):
    """How documents are cut."""

    max_chars: int | None = Field(
        1000,
        ge=50,
        description="longest passage, in characters; the default encoder reads 256 tokens, about 1,100 characters "
        "of English; null keeps each document whole, and the encoder reads its beginning",
    )
    overlap_chars: int = Field(100, ge=0, description="characters that a passage repeats of the one before it, at most")
    with_title: bool = Field(True, description="whether the document's title is embedded with each of its passages")
    partition_rows: int = Field(
        2048, ge=1, description="most passages in a partition, the unit of embedding and of resuming"
    )

    @model_validator(mode="after")
    def _advance(self) -> "ChunkConfig":
        if self.max_chars is not None and self.overlap_chars * 4 > self.max_chars:
            raise ValueError(
                f"overlap_chars is at most a quarter of max_chars ({self.max_chars}), got {self.overlap_chars}"
            )
        return self


def passage_text(title: str, text: str) -> str:
    """What is embedded, and weighed by BM25, for a passage."""
    return f"{title}\n{text}" if title and text else title or text


def passage_texts(titles: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """What ``passage_text`` gives for each of n passages, strings of shape (n,)."""
    both = pc.and_(pc.not_equal(titles, ""), pc.not_equal(texts, ""))
    return pc.binary_join_element_wise(titles, texts, pc.if_else(both, "\n", ""))


def chunk_text(text: str, config: ChunkConfig) -> list[tuple[int, int]]:
    """The passages of a text as half-open spans of characters.

    They are in order, each at most ``max_chars`` long, without white space at their ends where they are cut, and
    together they hold every character of the text but white space between them. A text that is short enough is one
    passage, whole; so is an empty one.
    """
    limit = config.max_chars
    if limit is None or len(text) <= limit:
        return [(0, len(text))]
    spans: list[tuple[int, int]] = []
    start = _skip_space(text, 0)
    while start < len(text):
        cut = _cut(text, start, limit)
        end = start + len(text[start:cut].rstrip())
        spans.append((start, end))
        rest = _skip_space(text, cut)
        start = rest if rest == len(text) else _next_start(text, start, cut, config.overlap_chars)
    return spans or [(0, 0)]


def _cut(text: str, start: int, limit: int) -> int:
    """Where the passage that begins at ``start`` ends: the last of the best boundaries in its second half."""
    if len(text) - start <= limit:
        return len(text)
    for boundary in BOUNDARIES:
        last = None
        for last in boundary.finditer(text, start + limit // 2, start + limit):  # noqa: B007 - the last one is wanted
            pass
        if last:
            return last.end()
    return start + limit


def _next_start(text: str, start: int, cut: int, overlap: int) -> int:
    """The first beginning of a word in the overlap, or the cut where there is none."""
    if overlap:
        earliest = max(start + 1, cut - overlap)
        space = BOUNDARIES[-1].search(text, earliest, cut)
        if space and space.end() < cut:
            return space.end()
    return _skip_space(text, cut)


def _skip_space(text: str, start: int) -> int:
    found = re.compile(r"\S").search(text, start)
    return found.start() if found else len(text)


def chunk(documents: Path, config: ChunkConfig, out: Path) -> dict[str, Any]:
    """Cut every document and write passages in partitions.

    The same documents and config give the same partitions, so later stages can resume by their names. Memory holds one
    partition and one batch of documents.

    Args:
        documents: the table's folder.
        config: how to cut.
        out: the artifact's folder; the passages go to ``passages/`` in it, with a column
            ``title`` beside the table's own: what ``passage_text`` puts before the text.

    Returns:
        ``documents``, ``passages``, ``partitions`` and ``longest_chars``.
    """
    folder = out / "passages"
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"documents": 0, "passages": 0, "partitions": 0, "longest_chars": 0}
    rows: list[tuple[str, str, int, int, None, str, str]] = []
    for id_, title, text in _documents(documents):
        counts["documents"] += 1
        for start, end in chunk_text(text, config):
            shown = title if config.with_title or not text else ""
            rows.append((passage_id(id_, start, end), id_, start, end, None, text[start:end], shown))
            counts["longest_chars"] = max(counts["longest_chars"], end - start)
            if len(rows) == config.partition_rows:
                _write(rows, folder, counts)
    if rows or not counts["partitions"]:
        _write(rows, folder, counts)
    return counts


def _documents(folder: Path) -> Iterator[tuple[str, str, str]]:
    for batch in read_batches(folder, columns=["id", "title", "text"], rows=256):
        columns = (batch[name].to_pylist() for name in ("id", "title", "text"))
        yield from zip(*columns, strict=True)


def _write(rows: list[tuple[str, str, int, int, None, str, str]], folder: Path, counts: dict[str, int]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    write_partition(pa.Table.from_arrays(arrays, schema=SCHEMA), folder / partition_name(counts["partitions"]))
    counts["partitions"] += 1
    counts["passages"] += len(rows)
    rows.clear()
