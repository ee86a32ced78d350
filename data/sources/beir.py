"""Folders in the layout of BEIR: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``.

The layout of Thakur et al., BEIR (NeurIPS 2021, https://github.com/beir-cellar/beir).
"""

from functools import partial
from typing import Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.files import PATH, DocumentFiles, LinkFiles, QrelFiles, QueryFiles, TableFiles, table_tasks
from data.sources.paths import exists, find, within
from data.sources.remote import SourceFile
from data.sources.rows import Qrel, Query, Reading, ReadTask, Skipped


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

    def has_split(self, split: str) -> bool:
        """Whether there are judgments of a split."""
        return exists(self._file(f"qrels/{split}.tsv"))

    def questions(self, split: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        """Texts of the questions that have a relevant document in a split, and the grades of documents by question."""
        tables = self.model_copy(update={"split": split}).tables()
        texts: dict[str, str] = {}
        grades: dict[str, dict[str, int]] = {}
        for name in ("queries", "qrels"):
            for _, row in (found for task in table_tasks(name, tables[name]) for found in task.read()):
                if isinstance(row, Query):
                    texts[row.id] = row.text
                elif isinstance(row, Qrel):
                    grades.setdefault(row.query_id, {})[row.document_id] = row.score
        answered = {id_ for id_, of in grades.items() if any(grade > 0 for grade in of.values())}
        return {id_: text for id_, text in texts.items() if id_ in answered}, grades

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
