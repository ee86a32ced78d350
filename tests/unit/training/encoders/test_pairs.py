"""Pairs of links and of questions: what is held out, and what is no negative."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.errors import InputError
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES
from training.encoders.pairs import Pairs, read_pairs, write_pairs


def write_tables(root: Path, links: int = 200) -> Path:
    rng = np.random.default_rng(0)
    documents = [{"id": f"d{i}", "title": f"Title {i}", "text": f"text {i}"} for i in range(100)]
    linked = [
        {"source": f"d{a}", "target": f"d{b}", "relation": "cites", "weight": 1.0}
        for a, b in rng.integers(0, 100, (links, 2))
    ]
    queries = [{"id": f"q{i}", "text": f"question {i}"} for i in range(50)]
    qrels = [{"query_id": f"q{i // 2}", "document_id": f"d{i}", "score": int(i % 4 > 0)} for i in range(100)]
    tables: list[tuple[str, Any, list[dict[str, Any]]]] = [
        ("documents", DOCUMENTS, documents),
        ("links", LINKS, linked),
        ("queries", QUERIES, queries),
        ("qrels", QRELS, qrels),
    ]
    for name, schema, rows in tables:
        (root / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(rows, schema), root / name / partition_name(0))
    return root


def test_questions_are_held_out_whole_and_the_same_every_time(tmp_path: Path) -> None:
    tables = write_tables(tmp_path)
    counts = write_pairs(tables, "qrels", 1000, 0.3, 0, tmp_path / "one.parquet")
    assert counts == write_pairs(tables, "qrels", 1000, 0.3, 0, tmp_path / "other.parquet")
    pairs = read_pairs(tmp_path / "one.parquet")
    assert sum(counts.values()) == len(pairs.anchor_ids) == 75, "a pair with score 0 is none"
    held = {a for a, h in zip(pairs.anchor_ids, pairs.held, strict=True) if h}
    assert held and not held & {a for a, h in zip(pairs.anchor_ids, pairs.held, strict=True) if not h}
    ranked = pairs.held_out(500)
    assert set(ranked.anchor_ids) == held and ranked.anchors[0].startswith("question ")
    assert ranked.documents[0].startswith("Title ")


def test_links_both_ways_stand_on_one_side(tmp_path: Path) -> None:
    write_pairs(write_tables(tmp_path), "links", 1000, 0.3, 0, tmp_path / "pairs.parquet")
    pairs = read_pairs(tmp_path / "pairs.parquet")
    side = {}
    for a, b, held in zip(pairs.anchor_ids, pairs.positive_ids, pairs.held, strict=True):
        assert a != b and side.setdefault(frozenset((a, b)), held) == held
    ranked = pairs.held_out(500)
    scores = np.ones((len(ranked.anchor_ids), len(ranked.document_ids)), np.float32)
    for anchor, found in ranked.run(scores).items():
        assert anchor not in found and ranked.qrels[anchor].keys() <= found.keys()


def test_what_belongs_to_an_anchor_is_no_negative_of_it() -> None:
    anchors, documents = ["q1", "q2", "q1", "q3"], ["d1", "d2", "d2", "d3"]
    texts = {("anchor", a): a for a in anchors} | {("document", d): d for d in documents}
    (batch,) = Pairs(anchors, documents, texts, np.zeros(4, bool), symmetric=False).batches(0, 4, 0)
    masked = {
        (a, d)
        for a, row in zip(batch.anchors, batch.masked_BB, strict=True)
        for d, m in zip(batch.positives, row, strict=True)
        if m
    }
    # q1's other document, and d2, which stands twice, for q2 as for q1
    assert masked == {("q1", "d1"), ("q1", "d2"), ("q2", "d2")}
    assert not batch.masked_BB.diagonal().any() and batch.masked_BB.sum() == 5


def test_workers_take_different_pairs_and_equally_many() -> None:
    ids = [f"{i}" for i in range(50)]
    texts = {("anchor", i): i for i in ids} | {("document", i): i for i in ids}
    pairs = Pairs(ids, ids, texts, np.zeros(50, bool), symmetric=False)
    shares = [[a for batch in pairs.batches(1, 8, 0, rank, 2) for a in batch.anchors] for rank in (0, 1)]
    assert [len(share) for share in shares] == [24, 24] and not set(shares[0]) & set(shares[1])
    assert shares[0] != [a for batch in pairs.batches(2, 8, 0, 0, 2) for a in batch.anchors]


def test_too_few_pairs_are_told(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, links=1)
    with pytest.raises(InputError, match=r"matryoshka\.pairs: links give") as raised:
        write_pairs(tables, "links", 1000, 0.1, 0, tmp_path / "pairs.parquet")
    assert "take the other kind" in raised.value.remedy
