"""The corpus's own questions with known answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.partitions import read_batches, read_qrels, read_table
from evaluation.encoder_gate import Questions

EXAMPLES = 5  # ids of unknown documents that are named


def has_answers(tables: Path) -> bool:
    """Whether any question of a corpus has a document judged relevant to it.

    Args:
        tables: output folder of the ingest stage.
    """
    qrels = read_qrels(tables / "qrels")
    asked = read_table(tables / "queries", ["id"])["id"].to_pylist()
    return any(grade > 0 for query in asked for grade in qrels.get(query, {}).values())


def answered_questions(tables: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Texts of the questions that have a relevant document, by id, and the grades of documents by question.

    Args:
        tables: output folder of the ingest stage.
    """
    qrels = read_qrels(tables / "qrels")
    judged = {query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    asked = read_table(tables / "queries", ["id", "text"]).to_pylist()
    return {row["id"]: row["text"] for row in asked if row["id"] in judged}, qrels


def draw_questions(tables: Path, most: int, seed: int) -> Questions:
    """Questions that have a relevant document, at most so many, drawn with the seed.

    Args:
        tables: output folder of the ingest stage.
        most: number of questions.
        seed: of the draw.

    Returns:
        Texts and grades; both empty where the corpus has no such question.
    """
    answered, qrels = answered_questions(tables)
    asked = list(answered)
    if len(asked) > most:
        asked = [asked[i] for i in np.sort(np.random.default_rng(seed).choice(len(asked), most, replace=False))]
    texts = {id_: answered[id_] for id_ in asked}
    return Questions(texts, {query: qrels[query] for query in texts})


def unknown_documents(qrels: Mapping[str, Mapping[str, int]], documents: Path) -> dict[str, Any]:
    """Judgements of documents that are not in the corpus, so that nothing can find them.

    Args:
        qrels: query id -> document id -> grade.
        documents: folder of the documents table, read as a stream of ids.

    Returns:
        ``documents`` and ``judgements``: their numbers; ``examples``: ids of the first few, sorted.
    """
    unknown = {document for grades in qrels.values() for document in grades}
    for batch in read_batches(documents, ["id"], rows=65_536):
        unknown.difference_update(batch["id"].to_pylist())
    judgements = sum(document in unknown for grades in qrels.values() for document in grades)
    return {"documents": len(unknown), "judgements": judgements, "examples": sorted(unknown)[:EXAMPLES]}
