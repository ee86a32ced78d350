"""Pairs of links and of questions: what is held out, and what is no negative."""

from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from tests.unit_tables import write_tables
from training.encoders.config import MatryoshkaConfig
from training.encoders.pairs import Pairs, read_pairs, write_pairs


def config(pairs: str, valid_share: float = 0.3) -> MatryoshkaConfig:
    return MatryoshkaConfig.model_validate({"pairs": pairs, "max_pairs": 1000, "valid_share": valid_share})


def test_questions_are_held_out_whole_and_the_same_every_time(tmp_path: Path) -> None:
    tables = write_tables(tmp_path)
    counts = write_pairs(tables, config("qrels"), tmp_path / "one.parquet")
    assert counts == write_pairs(tables, config("qrels"), tmp_path / "other.parquet")
    pairs = read_pairs(tmp_path / "one.parquet")
    assert sum(counts.values()) == len(pairs.anchor_ids) == 75, "a pair with score 0 is none"
    held = {a for a, h in zip(pairs.anchor_ids, pairs.held, strict=True) if h}
    assert held and not held & {a for a, h in zip(pairs.anchor_ids, pairs.held, strict=True) if not h}
    ranked = pairs.held_out(500)
    assert set(ranked.anchor_ids) == held and ranked.anchors[0].startswith("question ")
    assert ranked.documents[0].startswith("Title ")


def test_links_both_ways_stand_on_one_side(tmp_path: Path) -> None:
    corpus = write_tables(tmp_path)
    write_pairs(corpus, config("links"), tmp_path / "pairs.parquet")
    pairs = read_pairs(tmp_path / "pairs.parquet")
    side = {}
    for a, b, held in zip(pairs.anchor_ids, pairs.positive_ids, pairs.held, strict=True):
        assert a != b and side.setdefault(frozenset((a, b)), held) == held
    assert set(zip(pairs.anchor_ids, pairs.positive_ids, strict=True)) == set(corpus.linked())  # training links alone
    ranked = pairs.held_out(500)
    scores = np.ones((len(ranked.anchor_ids), len(ranked.document_ids)), np.float32)
    for anchor, found in ranked.run(scores).items():
        assert anchor not in found and ranked.qrels[anchor].keys() <= found.keys()


def test_what_belongs_to_an_anchor_is_no_negative_of_it() -> None:
    anchors, documents = ["q1", "q2", "q1", "q3"], ["d1", "d2", "d2", "d3"]
    texts = {("anchor", a): a for a in anchors} | {("document", d): d for d in documents}
    (batch,) = Pairs(anchors, documents, texts, np.zeros(4, bool), symmetric=False).batches(0, 4, 0)
    masked = {
        (batch.texts[a], batch.texts[d])
        for a, row in zip(batch.anchors, batch.masked, strict=True)
        for d, m in zip(batch.positives, row, strict=True)
        if m
    }
    # q1's other document, and d2, which occurs twice, for q2 as for q1
    assert masked == {("q1", "d1"), ("q1", "d2"), ("q2", "d2")}
    assert not batch.masked.diagonal().any() and batch.masked.sum() == 5


def test_workers_take_different_pairs_and_equally_many() -> None:
    ids = [f"{i}" for i in range(50)]
    texts = {("anchor", i): i for i in ids} | {("document", i): i for i in ids}
    pairs = Pairs(ids, ids, texts, np.zeros(50, bool), symmetric=False)
    shares = [[a for batch in pairs.batches(1, 8, 0, rank, 2) for a in batch.texts[:8]] for rank in (0, 1)]
    assert [len(share) for share in shares] == [24, 24] and not set(shares[0]) & set(shares[1])
    assert shares[0] != [a for batch in pairs.batches(2, 8, 0, 0, 2) for a in batch.texts[:8]]


def test_too_few_pairs_are_told(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, links=1)
    with pytest.raises(InputError, match=r"matryoshka\.pairs: links give") as raised:
        write_pairs(tables, config("links", 0.1), tmp_path / "pairs.parquet")
    assert "take the other kind" in raised.value.remedy
