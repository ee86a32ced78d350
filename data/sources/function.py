"""Any other source: a user-defined function, named by its import path."""

from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError, in_one_line
from data.imports import IMPORT_PATH, code_digest, load
from data.missing import is_missing
from data.sources.cells import shortened
from data.sources.fields import row_or_reject, shown
from data.sources.files import DocumentFiles, LinkFiles, QrelFiles, QueryFiles, TableFiles
from data.sources.lines import Record
from data.sources.rows import CORPUS, CorpusRow, Reading, ReadTask, Reject, Row

KEY = "source.function.path"
ANY = "-"  # the file mappings below are used for their columns; there is no path
BUILDERS: Mapping[str, TableFiles] = {
    "documents": DocumentFiles(path=ANY, time="time"),
    "links": LinkFiles(path=ANY, relation="relation", weight="weight", time="time", split="split"),
    "queries": QueryFiles(path=ANY),
    "qrels": QrelFiles(path=ANY),
}


class FunctionSource(StageConfig):
    """A function that yields documents and links.

    It yields mappings. One with ``source`` and ``target`` is a link, one with ``query_id`` a judgment, any other a
    document; a key ``table`` (``documents``, ``links``, ``queries``, ``qrels``) names the table. The keys are the
    columns of the tables.
    """

    path: str = Field(pattern=IMPORT_PATH, description="import path of the function, my_package.corpora:load")
    arguments: dict[str, Any] = Field({}, description="keyword arguments it is called with")

    def versions(self) -> dict[str, str]:
        """A digest of its code, so that changed code is a new corpus.

        Raises:
            InputError: if there is no such module.
        """
        return {self.path: code_digest(KEY, self.path)}

    def tasks(self) -> list[ReadTask]:
        """One: only the function knows how it could be split."""
        return [ReadTask(self.path, "row", partial(called, self.path, self.arguments))]


def called(path: str, arguments: Mapping[str, Any]) -> Reading:
    """What the function yields, as rows.

    Raises:
        InputError: if the function raises anything; the message names the line.
    """
    function = load(KEY, path)
    position = 0
    try:
        for position, item in enumerate(function(**arguments), start=1):
            yield position, _row(item)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{KEY}: {path} failed after {position} rows: {in_one_line(error)}", "Correct the function."
        ) from error


def _row(item: object) -> Row | Reject:
    """A row of what the function yielded; its values pass the same checks as those of a file."""
    try:
        if isinstance(item, get_args(CorpusRow)):
            record, table = item._asdict(), CORPUS[type(item)]
        elif isinstance(item, Mapping):
            record = dict(item)
            table = str(record.pop("table", None) or _table(record))
        else:
            return Reject("documents", f"not a mapping: {type(item).__name__}", ascii(item)[:500])
        return _of_table(table, record)
    except Exception as error:  # a value of a user-defined class may raise anything when it is inspected
        return Reject("documents", f"{type(error).__name__}: {shortened(error)}", type(item).__name__)


def _of_table(table: str, record: Record) -> Row | Reject:
    if table not in BUILDERS:
        return Reject("documents", f"no table {table!r}", shown(record))
    if not all(isinstance(key, str) for key in record):
        return Reject(table, "a key is not a text", shown(record))
    if table == "links":
        record = {"relation": "related", "weight": 1.0} | {k: v for k, v in record.items() if not is_missing(v)}
    return row_or_reject(table, record, BUILDERS[table].build)


def _table(record: Mapping[str, Any]) -> str:
    if "source" in record and "target" in record:
        return "links"
    return "qrels" if "query_id" in record else "documents"
