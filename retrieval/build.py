"""Making the index of a run: what it is described by, and its passages with all that they are found by."""

import json
import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data.embedding.config import TOKEN_PROJECTION
from data.encoders.chain import recorded_alternative
from data.errors import InputError
from data.files import whole_or_absent
from data.lexical import BM25, mean_length
from data.metadata import Metadata, read_metadata
from data.partitions import count_rows, partitions, read_batches
from data.passages.text import passage_text
from data.vectors.projection import PROJECTION
from retrieval.config import IndexConfig
from retrieval.fill import build_edge, build_on_server
from retrieval.filter_keys import filter_keys
from retrieval.index import IndexMeta
from retrieval.indexed_passages import indexed_passages, with_tokens
from retrieval.language import detect_language
from retrieval.rescoring import keep_full_vectors, with_rows
from retrieval.terms import TermCounts

_SAMPLED = 64  # partitions
_LOOKED_AT = 2_000  # passages, for their language


def build_index(
    documents: Path,
    passages: Path,
    embedded: Path,
    config: IndexConfig,
    out: Path,
    late: Path | None = None,
    full: Path | None = None,
) -> dict[str, Any]:
    """Index every passage of a run. An older index in ``out`` is used until the new one is complete, then replaced.

    Args:
        documents: the documents table.
        passages: the passages table.
        embedded: the folder of the embedding stage, or that of ``reduce``: ``manifest.json`` and ``vectors/``,
            partitioned like the passages, and ``projection.safetensors`` where vectors lost dimensions.
        config: engine and weights.
        out: the artifact's folder; ``meta.json`` in it names the collection that answers.
        late: the late stage's folder, where passages are indexed with the vectors of their tokens.
        full: the folder of the embedding stage, where ``config.rescore`` asks for its vectors beside the index.

    Raises:
        InputError: if there is nothing to index, vectors and passages do not belong together, or the index ends up with
            another number of passages than it was given.
    """
    if (config.rescore > 0) != (full is not None):
        raise ValueError(f"index.rescore is {config.rescore}, full vectors are {full}: both or neither")
    manifest = json.loads((embedded / "manifest.json").read_text())
    points = count_rows(passages)
    if points == 0:
        raise InputError(
            f"no passages to index in {passages}", "Check the source: every document may have been rejected."
        )
    config = _in_its_language(config, passages, points)
    tokenizer = config.tokenizer()
    bm25 = BM25(tokenizer, mean_length(_sample(passages), tokenizer), config.k1, config.b)
    keys = filter_keys(_each_metadata(documents), config.filter_keys)
    meta = IndexMeta(
        config=config,
        location="",
        points=points,
        dim=manifest["dim"],
        encoder=manifest["fingerprint"],
        precision=manifest["precision"],
        link=recorded_alternative(embedded),
        mean_length=bm25.mean_length,
        filter_keys=keys,
        projection=_kept_beside(embedded / PROJECTION, out),
        late_dim=None if late is None else json.loads((late / "manifest.json").read_text())["dim"],
        token_projection=None if late is None else _kept_beside(late / TOKEN_PROJECTION, out),
        **({} if full is None else keep_full_vectors(full, passages, out)),
    )
    rows = indexed_passages(documents, passages, embedded / "vectors", bm25, meta.encoder, keys)
    if late is not None:
        rows = with_tokens(rows, late)
    if full is not None:
        rows = with_rows(rows)
    counts = TermCounts()
    place = build_on_server if config.engine == "server" else build_edge
    started = time.perf_counter()
    place(counts.of(rows), meta, out)
    counts.write(out)
    rate = points / (time.perf_counter() - started)
    return {
        "points": points,
        "dim": meta.dim,
        "engine": config.engine,
        "language": config.language,
        "points_per_s": round(rate, 1),
    }


def _in_its_language(config: IndexConfig, passages: Path, points: int) -> IndexConfig:
    """The config with the language of some passages, evenly spread, where it is left open."""
    if config.language != "auto":
        return config
    language = detect_language(islice(_sample(passages), 0, None, -(-points // _LOOKED_AT)))
    return config.model_copy(update={"language": language})


def _kept_beside(projection: Path, out: Path) -> Path | None:
    """A copy beside the index, which then needs nothing of the run to understand a question; None where there is none.

    Returns:
        The name of the copy.
    """
    if not projection.exists():
        return None
    with whole_or_absent(out / projection.name) as unfinished:
        shutil.copyfile(projection, unfinished)
    return Path(projection.name)


def _each_metadata(documents: Path) -> Iterator[Metadata]:
    for batch in read_batches(documents, ["metadata"]):
        for cell in batch["metadata"].to_pylist():
            yield read_metadata(cell)


def _sample(passages: Path) -> Iterator[str]:
    """Texts of at most ``_SAMPLED`` partitions, evenly spread: the mean length of a large collection needs no more."""
    paths = partitions(passages)
    for path in paths[:: -(-len(paths) // _SAMPLED)]:
        table = pq.read_table(path, columns=["title", "text"])
        for title, text in zip(table["title"].to_pylist(), table["text"].to_pylist(), strict=True):
            yield passage_text(title, text)
