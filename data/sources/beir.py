"""Folders in the layout of BEIR: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``.

The layout of Thakur et al., BEIR (NeurIPS 2021, https://github.com/beir-cellar/beir).
"""

import logging
from functools import partial
from typing import Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.files import PATH, DocumentFiles, LinkFiles, QrelFiles, QueryFiles, TableFiles, table_tasks
from data.sources.paths import exists, find, within
from data.sources.remote import SourceFile
from data.sources.rows import Qrel, Query, Reading, ReadTask, Reject, Skipped

logger = logging.getLogger("catena")


class BeirSource(StageConfig):
    """A folder in BEIR's layout, its files plain or gzipped; links are not part of it and may be beside it."""

    folder: str = Field(description="the folder, or its URL; environment variables are replaced")
    split: str = Field("test", description="which judgments: the name of a file in qrels/")
    queries: Literal["judged", "all"] = Field("judged", description="questions with judgments in the split, or all")
    links: LinkFiles | None = Field(None, description="links among the documents: " + PATH)

    def tables(self) -> dict[str, TableFiles]:
        """The folder's tables; questions and judgments may be absent, together."""
        tables: dict[str, TableFiles] = {"documents": DocumentFiles(path=self._file("corpus.jsonl"), id="_id")}
        if exists(within(self.folder, "qrels")) or exists(self._file(f"qrels/{self.split}.tsv")):
            tables["queries"] = QueryFiles(path=self._file("queries.jsonl"), id="_id")
            tables["qrels"] = QrelFiles(
                path=self._file(f"qrels/{self.split}.tsv"), query_id="query-id", document_id="corpus-id"
            )
        if self.links:
            tables["links"] = self.links
        return tables

    def of_split(self, split: str) -> "BeirSource | None":
        """The same folder with the judgments of another split; None where it has none of that name."""
        if not exists(self._file(f"qrels/{split}.tsv")):
            return None
        return self.model_copy(update={"split": split, "queries": "judged", "links": None})

    def _file(self, name: str) -> str:
        """A file of the folder, or its packed form where only that is there."""
        plain, packed = within(self.folder, name), within(self.folder, f"{name}.gz")
        return packed if not exists(plain) and exists(packed) else plain

    def files(self) -> list[SourceFile]:
        """Every file it reads."""
        return [file for files in self.tables().values() for file in find(files.path)]

    def tasks(self) -> list[ReadTask]:
        """One a file."""
        tasks: list[ReadTask] = []
        tables = self.tables()
        for table, files in tables.items():
            read = table_tasks(table, files)
            if table == "queries" and self.queries == "judged":
                judgments = table_tasks("qrels", tables["qrels"])
                read = [ReadTask(t.source, t.unit, partial(judged, t, judgments)) for t in read]
            tasks += read
        return tasks


def read_answers(source: BeirSource) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """The questions of a folder's split and its judgments, read in this process.

    Returns:
        Texts of the judged questions by id; and by question the grade of each document that was judged.
    """
    tables = source.tables()
    texts: dict[str, str] = {}
    grades: dict[str, dict[str, int]] = {}
    rejected = 0
    for task in [*table_tasks("qrels", tables["qrels"]), *table_tasks("queries", tables["queries"])]:
        for _, row in task.read():
            if isinstance(row, Qrel):
                grades.setdefault(row.query_id, {})[row.document_id] = row.score
            elif isinstance(row, Query) and row.id in grades:
                texts[row.id] = row.text
            rejected += isinstance(row, Reject)
    if rejected:
        logger.warning("%s: %s rows of split %s rejected", source.folder, f"{rejected:,}", source.split)
    return texts, grades


def judged(queries: ReadTask, judgments: list[ReadTask]) -> Reading:
    """The questions that have a judgment; the others are left out.

    A test collection has the questions of all splits in one file; a mean over those without judgments means nothing.
    """
    wanted = {row.query_id for task in judgments for _, row in task.read() if isinstance(row, Qrel)}
    if not wanted:
        named = ", ".join(task.source for task in judgments)
        raise InputError(f"{named}: no judgments", "Choose another split, or set source.beir.queries to all.")
    for position, row in queries.read():
        if isinstance(row, Query) and row.id not in wanted:
            yield position, Skipped("queries without a judgment in the split")
        else:
            yield position, row
