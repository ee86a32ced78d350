"""The corpus's own questions with known answers."""

from pathlib import Path

import numpy as np

from data.partitions import read_qrels, read_table
from evaluation.encoder_gate import Questions


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
