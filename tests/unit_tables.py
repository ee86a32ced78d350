"""A small corpus on disk: documents, links with their split, questions and answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.graph.split import SplitConfig, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES
from training.encoders.examples import Corpus


def write_tables(root: Path, links: int = 200, answers: bool = True) -> Corpus:
    """A hundred documents, random links, and 50 questions with two judgements each, one in four of which is 0."""
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
        ("queries", QUERIES, queries if answers else []),
        ("qrels", QRELS, qrels if answers else []),
    ]
    for name, schema, rows in tables:
        (root / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(rows, schema), root / name / partition_name(0))
    (root / "split").mkdir()
    write_split(root / "documents", root / "links", SplitConfig(), root / "split")
    return Corpus(root / "documents", root, root / "split")
