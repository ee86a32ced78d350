"""A corpus with links, some of them held back, and questions that it asks of itself."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.partitions import read_table
from data.passages.sampling import PassageSample
from retrieval.trust import make_questions

OWN, LINKED = 2, 1  # grades of the document that a sentence is of, and of those it has a held-back link with


def rows(tables: str, questions: int, share: float, seed: int) -> Iterator[dict[str, Any]]:
    """Documents, links, queries and qrels, as ``source.function`` takes them.

    A query is a sentence of a document, which stands in the corpus without it. Only documents that have a held-back
    link with another are asked for, each by one sentence at most; no link of a held-back pair is in the corpus.

    Args:
        tables: folder of an ingest stage.
        questions: most of them.
        share: of linked pairs that are held back.
        seed: of links and sentences.
    """
    documents = read_table(Path(tables) / "documents", ["id", "title", "text"]).to_pylist()
    links = read_table(Path(tables) / "links", ["source", "target", "relation", "weight"]).to_pylist()
    pairs = sorted({pair(link) for link in links} - {(one["id"], one["id"]) for one in documents})
    drawn = np.random.default_rng(seed).permutation(len(pairs))[: round(share * len(pairs))]
    held_back = {pairs[place] for place in drawn.tolist()}
    others: dict[str, list[str]] = defaultdict(list)
    for a, b in sorted(held_back):
        others[a].append(b)
        others[b].append(a)
    texts = {one["id"]: one["text"] for one in documents if one["id"] in others}
    sample = PassageSample(list(texts), [""] * len(texts), list(texts.values()), len(texts))  # no title: none is asked
    asked = {question.document: question for question in make_questions(sample, questions, seed)}
    for one in documents:
        yield {**one, "text": asked[one["id"]].rest if one["id"] in asked else one["text"]}
    yield from (link for link in links if pair(link) not in held_back)
    for id_, question in asked.items():
        yield {"table": "queries", "id": id_, "text": question.text}
        yield {"query_id": id_, "document_id": id_, "score": OWN}
        yield from ({"query_id": id_, "document_id": other, "score": LINKED} for other in others[id_])


def pair(link: dict[str, Any]) -> tuple[str, str]:
    """The ends of a link, without direction."""
    a, b = sorted((link["source"], link["target"]))
    return a, b
