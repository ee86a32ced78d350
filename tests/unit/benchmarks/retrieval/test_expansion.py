"""The corpus of the figures of expansion: what is asked for is not in it, and a step is chosen and judged apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.retrieval import expansion
from benchmarks.retrieval.linked_corpus import LINKED, OWN, pair, rows
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS
from retrieval.hits import SearchHit
from retrieval.query import SearchQuery

DOCUMENTS_MADE = 40
SENTENCE = "Of document {n} the sentence {m} says something that no other says."


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Documents of three sentences, linked at random."""
    made = [
        {"id": f"d{n}", "title": f"title {n}", "text": " ".join(SENTENCE.format(n=n, m=m) for m in range(3))}
        for n in range(DOCUMENTS_MADE)
    ]
    drawn = np.random.default_rng(0).integers(0, DOCUMENTS_MADE, (80, 2)).tolist()
    links = [{"source": f"d{a}", "target": f"d{b}", "relation": "see_also", "weight": 1.0} for a, b in drawn]
    for name, table in (
        ("documents", pa.Table.from_pylist(made, DOCUMENTS)),
        ("links", pa.Table.from_pylist(links, LINKS)),
    ):
        (tmp_path / name).mkdir()
        write_partition(table, tmp_path / name / partition_name(0))
    return tmp_path


def split(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    by_table: dict[str, list[dict[str, Any]]] = {"documents": [], "links": [], "queries": [], "qrels": []}
    for row in found:
        name = "links" if "source" in row else "qrels" if "query_id" in row else row.pop("table", "documents")
        by_table[name].append(row)
    return by_table


def test_a_sentence_that_is_asked_is_cut_out_of_its_document(tables: Path) -> None:
    found = split(list(rows(str(tables), 100, 0.3, 0)))
    texts = {row["id"]: row["text"] for row in found["documents"]}
    assert len(texts) == DOCUMENTS_MADE and len(found["queries"]) > 10
    asked = {row["id"] for row in found["queries"]}
    for query in found["queries"]:
        assert all(query["text"] not in text for text in texts.values())
        assert len(texts[query["id"]]) + len(query["text"]) < 3 * len(SENTENCE)
        assert query["text"].startswith(f"Of document {query['id'][1:]} the sentence")
    assert all(texts[id_].count("Of document") == (2 if id_ in asked else 3) for id_ in texts)


def test_links_that_are_held_back_are_in_the_judgements_alone(tables: Path) -> None:
    found = split(list(rows(str(tables), 100, 0.3, 0)))
    kept = {pair(row) for row in found["links"]}
    grades = {(row["query_id"], row["document_id"]): row["score"] for row in found["qrels"]}
    linked = {tuple(sorted(ends)) for ends, grade in grades.items() if grade == LINKED}
    assert linked and not linked & kept
    for query in found["queries"]:
        assert grades[query["id"], query["id"]] == OWN
        assert any(ends[0] == query["id"] and grade == LINKED for ends, grade in grades.items())


def test_the_same_seed_makes_the_same_corpus(tables: Path) -> None:
    once, again, other = (list(rows(str(tables), 10, 0.3, seed)) for seed in (0, 0, 1))
    assert once == again != other


class Turned:
    """Expands by putting a linked document first where the step is deep."""

    def expand(
        self, queries: Sequence[SearchQuery], vectors: object, found: Sequence[Sequence[SearchHit]]
    ) -> list[list[SearchHit]]:
        pairs = zip(queries, found, strict=True)
        return [[hit(f"{asked.text}-linked"), *hits] if deep(asked) else list(hits) for asked, hits in pairs]


def deep(query: SearchQuery) -> bool:
    return query.expand is not None and query.expand.depth == 3


def hit(id_: str) -> SearchHit:
    return SearchHit(id_, id_, "", "", 0, 0, 1.0, {})


def test_a_step_is_chosen_by_one_half_and_judged_by_the_other() -> None:
    ids = [f"q{n}" for n in range(40)]
    asked = expansion.Asked(
        {id_: SearchQuery(id_) for id_ in ids},
        dict.fromkeys(ids, np.zeros(2, np.float32)),
        {id_: [hit(id_)] for id_ in ids},
    )
    qrels: Mapping[str, Mapping[str, int]] = {id_: {id_: OWN, f"{id_}-linked": LINKED} for id_ in ids}
    made = {row.id: row for row in expansion.rows_of(asked, Turned(), qrels)}
    assert len(made) == 6
    own, linked = made["retrieval.expansion.own.known"], made["retrieval.expansion.linked.known"]
    assert own.value == 0 and "depth 1, weight 0.1" in own.peer, "deep steps put another document first"
    assert linked.value == pytest.approx(1 - 1 / (1 + 1 / np.log2(3)), abs=1e-4) and "depth 3" in linked.peer
    assert "20 questions" in linked.what and "p = 0.0006 by Holm" in linked.peer
