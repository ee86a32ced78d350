"""A corpus on disk, and a pipeline that finds its documents by made-up scores of which one knows the answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.graph.split import SplitConfig, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS, QRELS, QUERIES
from retrieval.hits import SearchHit
from retrieval.trail import Place
from training.encoders.examples import Corpus

FOUND = 10  # documents of each question


def answer(question: int) -> int:
    """Place of the answer among what is found for a question."""
    return (question * 7 + 3) % FOUND


def find(questions: Sequence[str], knows: str = "bm25") -> list[list[SearchHit]]:
    """Ten documents of each question; the order says nothing, the list ``knows`` has the answer highest, mostly."""
    found = []
    for text in questions:
        n = int(text.split()[-1])
        rng = np.random.default_rng(n)
        scores = {name: rng.random(FOUND) for name in ("dense", "bm25")}
        scores[knows][answer(n)] += 0.9
        ranks = {name: np.argsort(np.argsort(-of)) + 1 for name, of in scores.items()}
        found.append(
            [
                SearchHit(
                    f"d{(n + 11 * place) % 200}",
                    f"p{n}-{place}",
                    "",
                    f"text {place}",
                    0,
                    6,
                    1.0 - place / FOUND,
                    {},
                    (
                        *(Place(name, int(ranks[name][place]), float(scores[name][place])) for name in scores),
                        Place("hybrid", place + 1, 1.0 - place / FOUND),
                    ),
                )
                for place in range(FOUND)
            ]
        )
    return found


def write_corpus(root: Path, questions: int = 120, links: int = 0) -> Corpus:
    """Documents and questions, each of which has one answer."""
    documents = [
        {"id": f"d{n}", "title": f"Title {n}", "text": f"text {n}", "metadata": f'{{"year": {1900 + n}}}'}
        for n in range(200)
    ]
    asked = [{"id": f"q{n}", "text": f"question number {n}"} for n in range(questions)]
    judged = [
        {"query_id": f"q{n}", "document_id": f"d{(n + 11 * answer(n)) % 200}", "score": 1} for n in range(questions)
    ]
    linked = [
        {"source": f"d{n}", "target": f"d{(n + 11 * answer(n)) % 200}", "relation": "r", "weight": 1.0}
        for n in range(links)
    ]
    tables = {
        "documents": (DOCUMENTS, documents),
        "queries": (QUERIES, asked),
        "qrels": (QRELS, judged),
        "links": (LINKS, linked),
    }
    for name, (schema, rows) in tables.items():
        (root / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(rows, schema), root / name / partition_name(0))
    (root / "split").mkdir()
    write_split(root / "documents", root / "links", SplitConfig(), root / "split")
    return Corpus(root / "documents", root, root / "split")
