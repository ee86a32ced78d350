"""What the first stage finds for each question, written once for all workers.

Shapes: V lists, D documents of the longest one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.files import whole_or_absent
from data.progress import progress
from retrieval.hits import SearchHit
from retrieval.reranking import hit_text
from training.cross_encoder.questions import Question

LISTS, TEXTS = "lists.parquet", "texts.parquet"
AT_ONCE = 64  # questions asked of the index

Numbers = npt.NDArray[np.int64]
Search = Callable[[Sequence[str]], Sequence[Sequence[SearchHit]]]
"""Questions to the documents that the first stage finds for each, best first."""


@dataclass(frozen=True)
class RankedList:
    """One question with its documents.

    Attributes:
        question: its text.
        places: int64 (n,), rows of the table of texts: what the first stage found, best first; then the answers that it
            missed.
        grades: int64 (n,), 0 for what does not answer.
        found: how many of them the first stage found.
        ranked: whether its ranks mean anything; it has read a made question in the document that it is taken out of.
    """

    question: str
    places: Numbers
    grades: Numbers
    found: int
    ranked: bool = True

    @property
    def answers(self) -> Numbers:
        """Which documents answer: int64, places in this list."""
        return np.flatnonzero(self.grades > 0)

    @property
    def others(self) -> Numbers:
        """Which documents the first stage found and do not."""
        return np.flatnonzero(self.grades[: self.found] == 0)

    def ranks(self, chosen: Numbers) -> Numbers:
        """Ranks of documents by the first stage, from 1; of those that it missed, the one after its last."""
        return np.minimum(chosen, self.found) + 1


@dataclass(frozen=True)
class Lists:
    """All questions.

    Attributes:
        train: lists with an answer and another document.
        valid: held-out lists, as the first stage has them.
        texts: string (n,), of documents.
    """

    train: list[RankedList]
    valid: list[RankedList]
    texts: pa.Array

    def text(self, place: int) -> str:
        """One document."""
        return str(self.texts[place].as_py())


class _Texts:
    """Texts of documents, each once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], int] = {}

    def place(self, id_: str, text: str) -> int:
        return self._rows.setdefault((id_, text), len(self._rows))

    def table(self) -> pa.Table:
        columns = {"id": [id_ for id_, _ in self._rows], "text": [text for _, text in self._rows]}
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def write_lists(
    questions: Sequence[Question], search: Search, whole: Callable[[set[str]], Mapping[str, str]], out: Path
) -> dict[str, int]:
    """Ask the first stage, and write what it finds.

    Args:
        questions: to learn from.
        search: the first stage.
        whole: texts of documents by id, for answers that it does not find; those that the corpus lacks are left out.
        out: receives ``lists.parquet`` and ``texts.parquet``.

    Returns:
        ``training_questions`` and ``valid_questions``: those with a document that answers and, for training, another.
    """
    known = whole({id_ for question in questions for id_ in question.relevant.keys() - question.instead.keys()})
    texts, rows = _Texts(), []
    for question, hits in zip(questions, searched(questions, search), strict=True):
        row = _row(question, hits, known, texts)
        if any(row["grades"]) and (question.valid or not all(row["grades"])):
            rows.append(row)
    schema = pa.schema(
        {
            "question": pa.string(),
            "valid": pa.bool_(),
            "places": pa.list_(pa.int64()),
            "grades": pa.list_(pa.int64()),
            "found": pa.int64(),
            "ranked": pa.bool_(),
        }
    )
    for name, table in ((TEXTS, texts.table()), (LISTS, pa.Table.from_pylist(rows, schema))):
        with whole_or_absent(out / name) as unfinished:
            pq.write_table(table, unfinished, compression="zstd")
    held = sum(row["valid"] for row in rows)
    return {"training_questions": len(rows) - held, "valid_questions": held}


def read_lists(folder: Path, most_valid: int, seed: int) -> Lists:
    """Read what ``write_lists`` wrote.

    Args:
        folder: where it is.
        most_valid: held-out lists taken; more are sampled.
        seed: of the sample.
    """
    rows = pq.read_table(folder / LISTS).to_pylist()
    parts: dict[bool, list[RankedList]] = {True: [], False: []}
    for row in rows:
        places, grades = (np.array(row[name], np.int64) for name in ("places", "grades"))
        parts[row["valid"]].append(RankedList(row["question"], places, grades, row["found"], row["ranked"]))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(parts[True]))[:most_valid])
    texts = pq.read_table(folder / TEXTS)["text"].combine_chunks()
    return Lists(parts[False], [parts[True][n] for n in chosen], texts)


def searched(questions: Sequence[Question], search: Search, what: str = "ranker") -> Iterator[list[SearchHit]]:
    """What the first stage finds for each question, without the documents that are to be left out.

    Args:
        questions: that are asked, in batches.
        search: the first stage.
        what: is trained, for the progress.
    """
    remaining = iter(questions)
    with progress(what, len(questions), "questions") as counted:
        while batch := list(islice(remaining, AT_ONCE)):
            for question, hits in zip(batch, search([one.text for one in batch]), strict=True):
                yield [hit for hit in hits if hit.document_id not in question.left_out]
            counted.advance(len(batch))


def _row(question: Question, hits: Sequence[SearchHit], known: Mapping[str, str], texts: _Texts) -> dict[str, Any]:
    """A question as a row of the file; of a document with another text for it, that one is taken."""
    read = {hit.document_id: question.instead.get(hit.document_id, hit_text(hit)) for hit in hits}
    others = {**known, **question.instead}
    missed = {id_: others[id_] for id_ in sorted(question.relevant.keys() - read.keys()) if id_ in others}
    documents = {**read, **missed}
    return {
        "question": question.text,
        "valid": question.valid,
        "places": [texts.place(id_, text) for id_, text in documents.items()],
        "grades": [question.relevant.get(id_, 0) for id_ in documents],
        "found": len(read),
        "ranked": not question.instead,
    }
