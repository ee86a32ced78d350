"""Cutting documents: megabytes of text a second of one core, what an edit disturbs, and what small passages find.

The recursive strategy is a plain scan with regular expressions, and left so: they run in C over half of each passage
only, 45 to 70 MB/s measured (25 MB/s with passages of 400 characters, 6 with passages of 100).
"""

import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.embed.texts import sample
from benchmarks.rows import Row
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Encoder, Vectors
from data.encoders.transformer.token_starts import token_starts
from data.partitions import partition_name, write_partition
from data.passages.chunk import chunk, chunk_text
from data.passages.config import ChunkConfig
from data.passages.fixed import cut_fixed
from data.passages.semantic import cut_sentences, distances, join_sentences
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from evaluation.ranking import evaluate_ranking

logger = logging.getLogger("catena")

REPEATS = 5
SEMANTIC_CHARACTERS = 50_000  # what the encoder is given: half a minute of its time
OTHER_DOCUMENTS = 10  # of SciFact's documents that answer no question, every tenth is searched too
SMALL = {
    "recursive": ChunkConfig(max_chars=400, overlap_chars=40),
    "fixed": ChunkConfig(strategy="fixed", max_tokens=90, overlap_tokens=9),
    "semantic": ChunkConfig(strategy="semantic", max_chars=400, min_chars=100),
}


def measure() -> list[Row]:
    """Every row of the table; about five minutes on two cores."""
    corpus, text = _long_text()
    encoder = load_encoder(TransformerConfig())
    return [*_speed(corpus, text, encoder), _stage(corpus, text), *_edits(corpus, text), *_quality(encoder)]


def _long_text() -> tuple[str, str]:
    """Three novels where they are, else the texts that the embedding is measured on, as one document."""
    books = sorted((Path(os.environ.get("CATENA_DATA", "../shared/data")) / "books").glob("*.txt"))
    if books:
        return "three novels", "".join(book.read_text(encoding="utf-8-sig") for book in books)
    name, texts = sample(2000)
    return name, "\n\n".join(texts)


def _core_seconds(work: Callable[[], object]) -> float:
    """Median seconds of one core, which work of others on the machine does not lengthen by much."""
    seconds = []
    for _ in range(REPEATS):
        started = time.thread_time()
        work()
        seconds.append(time.thread_time() - started)
    return statistics.median(seconds)


def _speed(corpus: str, text: str, encoder: Encoder) -> list[Row]:
    megabytes = len(text.encode()) / 1e6
    starts = token_starts(TransformerConfig())
    started = time.process_time()
    (tokens,) = starts([text])
    tokenizer_s = time.process_time() - started
    fixed = ChunkConfig(strategy="fixed")
    rates = {
        "recursive": _core_seconds(lambda: chunk_text(text, ChunkConfig())),
        "fixed": _core_seconds(lambda: cut_fixed(text, tokens, fixed.max_tokens, fixed.overlap_tokens)),
        "fixed_by_words": _core_seconds(lambda: chunk_text(text, fixed)),
        "hierarchical": _core_seconds(lambda: chunk_text(text, ChunkConfig(strategy="hierarchical"))),
    }
    whats = {
        "recursive": "into passages of 1,000 characters at most",
        "fixed": "into windows of 200 tokens, the tokenizer's time apart",
        "fixed_by_words": "into windows of 200 words, for an encoder without a tokenizer",
        "hierarchical": "into passages of 1,000 characters within parents of 4,000",
    }
    rows = [
        Row(
            id=f"chunk.{name}_mb_per_s",
            what=f"text cut a second of one core, {whats[name]}; {corpus}, {megabytes:.1f} MB",
            value=megabytes / seconds,
            unit="MB/s",
            at_least=20.0 if name in ("recursive", "fixed") else None,
            peer=f"the model's tokenizer alone: {megabytes / tokenizer_s:.2f} MB/s" if name == "fixed" else "",
        )
        for name, seconds in rates.items()
    ]
    return [*rows, _semantic(corpus, text, encoder)]


def _semantic(corpus: str, text: str, encoder: Encoder) -> Row:
    part = text[len(text) // 2 :][:SEMANTIC_CHARACTERS]
    sentences = cut_sentences(part, 1000)
    started = time.perf_counter()
    vectors = encoder.encode([part[start:end] for start, end in sentences])
    encode_s = time.perf_counter() - started
    cut_s = _core_seconds(lambda: join_sentences(cut_sentences(part, 1000), distances(vectors), 90, 200, 1000))
    return Row(
        id="chunk.semantic_mb_per_s",
        what=f"text cut where sentences part, a second of one core, the encoder's time apart; {corpus}",
        value=len(part.encode()) / 1e6 / cut_s,
        unit="MB/s",
        peer=f"encoding its {len(sentences)} sentences: {len(part.encode()) / 1e6 / encode_s:.3f} MB/s of all cores",
    )


def _stage(corpus: str, text: str) -> Row:
    """The stage as a run does it, from Parquet to Parquet."""
    pieces = [text[start : start + 20_000] for start in range(0, len(text), 20_000)] * 4
    rows = [{"id": f"d{n}", "title": f"Document {n}", "text": piece} for n, piece in enumerate(pieces)]
    megabytes = sum(len(piece.encode()) for piece in pieces) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        write_partition(pa.Table.from_pylist(rows, DOCUMENTS), documents / partition_name(0))
        started = time.process_time()
        result = chunk(documents, ChunkConfig(), Path(folder))
        seconds = time.process_time() - started
    return Row(
        id="chunk.stage_mb_per_s",
        what=f"documents of 20,000 characters to passages, from Parquet to zstd Parquet, all in one process; {corpus}",
        value=megabytes / seconds,
        unit="MB/s",
        peer=f"{result['passages'] / seconds:,.0f} passages/s",
    )


def _edits(corpus: str, text: str) -> list[Row]:
    """Passages whose text is new after a sentence was put in at the beginning: what a cache has no vector for."""
    longer = "One more sentence was put in. " + text
    rows = []
    tokens = token_starts(TransformerConfig())
    for name in ("recursive", "fixed"):
        config = ChunkConfig(strategy=name)

        def passages(of: str, config: ChunkConfig = config) -> list[str]:
            if config.strategy == "recursive":
                return [of[start:end] for start, end in chunk_text(of, config)]
            spans = cut_fixed(of, tokens([of])[0], config.max_tokens, config.overlap_tokens)
            return [of[start:end] for start, end in spans]

        known, after = set(passages(text)), passages(longer)
        rows.append(
            Row(
                id=f"chunk.{name}_new_after_insertion",
                what=f"passages of {len(after):,} that a sentence put in at the very beginning gives another text, "
                f"strategy {name}; {corpus}",
                value=sum(passage not in known for passage in after),
                unit="passages",
                at_most=20 if name == "recursive" else None,
            )
        )
    return rows


def _quality(encoder: Encoder) -> list[Row]:
    """nDCG@10 of the nearest passages on a part of SciFact, with each way to cut small and with whole documents."""
    folder = Path(os.environ.get("CATENA_DATA", "../shared/data")) / "scifact"
    if not folder.is_dir():
        logger.info("bench chunking: no SciFact in %s, so what small passages find is not measured", folder)
        return []
    lines = (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in (line.split("\t") for line in lines):
        qrels.setdefault(query, {})[document] = int(grade)
    relevant = {document for grades in qrels.values() for document in grades}
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    kept = [row for n, row in enumerate(corpus) if row["_id"] in relevant or n % OTHER_DOCUMENTS == 0]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    asked = [query for query in queries if query["_id"] in qrels]
    vectors = encoder.encode([query["text"] for query in asked])
    found: dict[str, float] = {}
    for name, config in {"whole": ChunkConfig(max_chars=None), **SMALL}.items():
        owners: list[int] = []
        passages: list[str] = []
        cuts = _spans([row["text"] for row in kept], config, encoder)
        for owner, (row, spans) in enumerate(zip(kept, cuts, strict=True)):
            owners += [owner] * len(spans)
            passages += [passage_text(row["title"], row["text"][start:end]) for start, end in spans]
        best = _best(vectors @ encoder.encode(passages).T, np.array(owners), len(kept))
        ranking = {
            query["_id"]: {kept[i]["_id"]: float(scores[i]) for i in np.argsort(-scores)[:100]}
            for query, scores in zip(asked, best, strict=True)
        }
        found[name] = evaluate_ranking(ranking, qrels).means["ndcg@10"]
    return [
        Row(
            id=f"chunk.{name}_ndcg_at_10",
            what=f"nDCG@10 of the nearest passages, strategy {name}, passages of about 400 characters; "
            f"{len(kept):,} documents of SciFact, {len(asked)} queries",
            value=round(found[name], 4),
            unit="nDCG@10",
            peer=f"whole documents, one passage each: {found['whole']:.4f}",
        )
        for name in SMALL
    ]


def _spans(texts: Sequence[str], config: ChunkConfig, encoder: Encoder) -> list[list[tuple[int, int]]]:
    if config.strategy == "fixed":
        starts = token_starts(TransformerConfig())(texts)
        pairs = zip(texts, starts, strict=True)
        return [cut_fixed(text, tokens, config.max_tokens, config.overlap_tokens) for text, tokens in pairs]
    if config.strategy == "recursive":
        return [chunk_text(text, config) for text in texts]
    longest = config.max_chars or 0
    sentences = [cut_sentences(text, longest) or [(0, 0)] for text in texts]
    vectors = encoder.encode([text[a:b] for text, spans in zip(texts, sentences, strict=True) for a, b in spans])
    parts = np.split(vectors, np.cumsum([len(spans) for spans in sentences])[:-1])
    return [
        join_sentences(spans, distances(part), config.percentile, config.min_chars, longest)
        for spans, part in zip(sentences, parts, strict=True)
    ]


def _best(scores: Vectors, owners: np.ndarray, documents: int) -> Vectors:
    """Of each query and document the score of its best passage: float32 (queries, documents)."""
    best: Vectors = np.full((len(scores), documents), -np.inf, np.float32)
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    best[:, owners[firsts]] = np.maximum.reduceat(scores, firsts, axis=1)
    return best
