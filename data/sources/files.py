"""Files of documents, links, queries and judgments in any common format, with a mapping of their columns."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pydantic import Field

from data.artifacts import StageConfig
from data.sources import records as formats
from data.sources.delimited import has_quotes
from data.sources.fields import (
    BadField,
    grade_of,
    id_of,
    metadata_of,
    need_columns,
    rows,
    split_of,
    text_of,
    time_of,
    weight_of,
)
from data.sources.lines import Record
from data.sources.parquet import parquet_rows, row_groups
from data.sources.parquet_columns import without_binary
from data.sources.paths import find
from data.sources.records import Format
from data.sources.remote import AHEAD, SourceFile
from data.sources.rows import Document, Link, Qrel, Query, ReadTask, Row

PATH = (
    "file or URL (https, s3, whatever fsspec reads), or a pattern such as parts/*.parquet; $CATENA_DATA and other "
    "environment variables are replaced"
)


class TableFiles(StageConfig):
    """Files that hold one table, and what their columns are called."""

    path: str = Field(description=PATH)
    format: Format | None = Field(None, description="jsonl, csv, tsv or parquet; by the file's name where unset")
    quoted: bool | None = Field(
        None, description="whether fields may be quoted; where unset, CSV yes, TSV if its first fields are"
    )

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Columns that have to be there: those without a default, and those the run file names itself.

        Args:
            found: the columns that are there.
        """
        raise NotImplementedError

    def columns(self) -> list[str] | None:
        """Columns to read of a Parquet file; all where None."""
        return self.needed()

    def build(self, record: Record) -> Row:
        """A row of a record.

        Raises:
            BadField: if the record does not make one.
        """
        raise NotImplementedError

    def named(self, *optional: str) -> list[str]:
        """Of the optional columns, those that the run file names."""
        return [column for field in optional if field in self.model_fields_set and (column := getattr(self, field))]


class DocumentFiles(TableFiles):
    """Files of documents."""

    id: str = Field("id", description="column of the identity")
    title: str | None = Field("title", description="column of the title; may be absent unless named here")
    text: str = Field("text", description="column of the text; a document with a title alone is enough")
    time: str | None = Field(None, description="column of the time: ISO 8601, or seconds since 1970")
    metadata: list[str] | None = Field(None, description="columns kept for filters; every other column where unset")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Identity, what the run file names, and a text where there is no title."""
        texts = self.named("text") or ([] if self.title in found else [self.text])
        return [self.id, *texts, *self.named("title", "time"), *(self.metadata or [])]

    def columns(self) -> list[str] | None:
        """All columns where all are kept."""
        return None if self.metadata is None else [*self.needed(), *([self.title] if self.title else [])]

    @property
    def used(self) -> frozenset[str]:
        """Columns that are not metadata."""
        return frozenset(column for column in (self.id, self.title, self.text, self.time) if column is not None)

    def build(self, record: Record) -> Document:
        """A document of a record: a title or a text is enough."""
        id_ = id_of(record, self.id)
        title = text_of(record, self.title, "") if self.title else ""
        document = Document(id_, title, text_of(record, self.text, "" if title.strip() else None))
        if not title.strip() and not document.text.strip():
            raise BadField("empty text")
        kept = self.metadata if self.metadata is not None else [field for field in record if field not in self.used]
        return document._replace(metadata=metadata_of(record, kept), time=time_of(record, self.time))


class LinkFiles(TableFiles):
    """Files of links."""

    source: str = Field("source", description="column of the document that the link is from")
    target: str = Field("target", description="column of the document it points to")
    relation: str | None = Field(None, description="column of the relation")
    relation_name: str = Field("related", description="relation of links without a column for it")
    weight: str | None = Field(None, description="column of the weight; 1 where unset")
    time: str | None = Field(None, description="column of the time: ISO 8601, or seconds since 1970")
    split: str | None = Field(None, description="column of the official split: train, valid or test; see graph.split")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Source and target, and what the run file names."""
        return [self.source, self.target, *self.named("relation", "weight", "time", "split")]

    def build(self, record: Record) -> Link:
        """A link of a record."""
        return Link(
            id_of(record, self.source),
            id_of(record, self.target),
            id_of(record, self.relation) if self.relation else self.relation_name,
            weight_of(record, self.weight) if self.weight else 1.0,
            time_of(record, self.time),
            split_of(record, self.split),
        )


class QueryFiles(TableFiles):
    """Files of questions."""

    id: str = Field("id", description="column of the identity")
    text: str = Field("text", description="column of the question")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Identity and text."""
        return [self.id, self.text]

    def build(self, record: Record) -> Query:
        """A question of a record."""
        return Query(id_of(record, self.id), id_of(record, self.text))


class QrelFiles(TableFiles):
    """Files of judgments."""

    query_id: str = Field("query_id", description="column of the question")
    document_id: str = Field("document_id", description="column of the document")
    score: str = Field("score", description="column of the grade, a whole number: 0 is not relevant")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """All three."""
        return [self.query_id, self.document_id, self.score]

    def build(self, record: Record) -> Qrel:
        """A judgment of a record."""
        return Qrel(id_of(record, self.query_id), id_of(record, self.document_id), grade_of(record, self.score))


class FilesSource(StageConfig):
    """A corpus in files, a table or more each."""

    documents: DocumentFiles = Field(description="the documents")
    links: LinkFiles | None = Field(None, description="the links that are known")
    queries: QueryFiles | None = Field(None, description="questions for the evaluation of search")
    qrels: QrelFiles | None = Field(None, description="which documents answer them")

    def tables(self) -> dict[str, TableFiles]:
        """The tables that are given."""
        given = {"documents": self.documents, "links": self.links, "queries": self.queries, "qrels": self.qrels}
        return {table: files for table, files in given.items() if files is not None}

    def files(self) -> list[SourceFile]:
        """Every file it reads."""
        return [file for files in self.tables().values() for file in find(files.path)]

    def tasks(self) -> list[ReadTask]:
        """One a file; one a row group of Parquet."""
        return [task for table, files in self.tables().items() for task in table_tasks(table, files)]


def table_tasks(table: str, files: TableFiles) -> list[ReadTask]:
    """Tasks that read the files of one table.

    Raises:
        InputError: if a file or a column is missing.
    """
    with ThreadPoolExecutor(AHEAD) as pool:  # headers of remote files take their time
        tasks = pool.map(partial(_file_tasks, table, files), find(files.path))
        return [task for of_file in tasks for task in of_file]


def _file_tasks(table: str, files: TableFiles, file: SourceFile) -> list[ReadTask]:
    format_ = files.format or formats.format_of(file)
    quoted, note = quoting(file, format_, files.quoted)
    found = formats.columns_of(file, format_, quoted)
    if found is not None:
        need_columns(file, found, files.needed(found))
    if format_ == "parquet":
        named = files.columns()
        columns = None if named is None else [column for column in named if column in (found or [])]
        if isinstance(files, DocumentFiles):
            columns = without_binary(file, columns, files.used, files.metadata or ())
        pieces = [partial(parquet_rows, file, n, columns) for n in range(row_groups(file))]
        return [ReadTask(str(file), "row", partial(rows, table, piece, files.build)) for piece in pieces]
    read = partial(formats.records, file, format_, quoted)
    return [ReadTask(str(file), "line", partial(rows, table, read, files.build), note)]


def quoting(file: SourceFile, format_: Format, wanted: bool | None = None) -> tuple[bool, str]:
    """Whether the fields of a file are quoted, and a note about it.

    Args:
        file: the file.
        format_: its format.
        wanted: the run file's choice; where None, a TSV file is looked at.
    """
    if wanted is not None or format_ != "tsv":
        return format_ == "csv" if wanted is None else wanted, ""
    quoted = has_quotes(file)
    return quoted, f"{file}: TSV with fields in quotes, read without the quotes" if quoted else ""
