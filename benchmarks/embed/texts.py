"""Texts and tables of passages for measuring the embedding."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from data.partitions import partition_name, write_partition
from data.passages.chunk import SCHEMA
from data.schema import passage_id
from data.sources.pydocs.source import PACKAGES, read_packages
from data.sources.rows import Document

PARTITION = 2048


def sample(count: int) -> tuple[str, list[str]]:
    """Name of a corpus and texts spread over it: SciFact's abstracts where they are, else the built-in docstrings."""
    scifact = Path(os.environ.get("CATENA_DATA", "../shared/data")) / "scifact" / "corpus.jsonl"
    name, texts = ("SciFact abstracts", _scifact(scifact)) if scifact.exists() else ("docstrings", docstrings())
    everything = list(texts)
    return name, everything[:: max(1, len(everything) // count)][:count]


def _scifact(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            yield f"{record['title']}\n{record['text']}"


def docstrings() -> Iterator[str]:
    """The documents of the built-in corpus, as the runs read them."""
    for _, row in read_packages(PACKAGES, None, 400):
        if isinstance(row, Document):
            yield f"{row.title}\n{row.text}"


def write_passages(texts: Iterator[str], count: int, folder: Path) -> Path:
    """A passages table of ``count`` documents of one passage each, in partitions of 2,048; memory holds one of them."""
    folder.mkdir(parents=True)
    for number in range(-(-count // PARTITION)):
        part = list(islice(texts, min(PARTITION, count - number * PARTITION)))
        ids = [f"{number}-{row}" for row in range(len(part))]
        rows = [
            dict(id=passage_id(id_, 0, len(text)), document_id=id_, start=0, end=len(text), text=text, title="")
            for id_, text in zip(ids, part, strict=True)
        ]
        write_partition(pa.Table.from_pylist(rows, schema=SCHEMA), folder / partition_name(number))
    return folder
