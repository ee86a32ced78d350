"""Proposed links that people have judged: a CSV file in which each has a verdict."""

from collections.abc import Iterator
from functools import partial

from data.errors import InputError, nearest
from data.sources.delimited import delimited, header
from data.sources.fields import BadField, id_of, row_or_reject, text_of
from data.sources.lines import Broken, Record
from data.sources.paths import find
from data.sources.remote import SourceFile
from data.sources.rows import Link, Reading, ReadTask, Row, Skipped

COLUMNS = ("source", "target", "relation", "verdict")
VERDICTS = {"yes": True, "y": True, "1": True, "no": False, "n": False, "0": False}
NOT_LINKED, OPEN = "pairs judged to be no links", "pairs without a verdict"


def judgement_tasks(paths: list[str]) -> list[ReadTask]:
    """One a file: pairs that are judged to be links, as links.

    Raises:
        InputError: if a file is missing, or lacks a column.
    """
    return [ReadTask(str(file), "line", partial(_read, file)) for file in judgement_files(paths)]


def judgement_files(paths: list[str]) -> list[SourceFile]:
    """The files, checked.

    Raises:
        InputError: if one is missing, or lacks a column.
    """
    files = [file for path in paths for file in find(path)]
    for file in files:
        found = header(file, "csv")
        for column in COLUMNS:
            if column not in found:
                raise InputError(f"{file}: no column {column!r}", nearest(column, found))
    return files


def judged_not(paths: list[str]) -> Iterator[tuple[str, str]]:
    """Ids of the pairs that are judged to be no links."""
    for file in judgement_files(paths):
        for _, record in delimited(file, "csv"):
            if not isinstance(record, Broken) and VERDICTS.get(_verdict(record)) is False:
                yield str(record["source"]), str(record["target"])


def _read(file: SourceFile) -> Reading:
    for position, record in delimited(file, "csv"):
        if isinstance(record, Broken) or VERDICTS.get(_verdict(record), True):
            if not isinstance(record, Broken) and not _verdict(record):
                yield position, Skipped(OPEN)
            else:
                yield position, row_or_reject("links", record, _link)
        else:
            yield position, Skipped(NOT_LINKED)


def _verdict(record: Record) -> str:
    return str(record["verdict"] or "").strip().casefold()


def _link(record: Record) -> Row:
    verdict = _verdict(record)
    if verdict not in VERDICTS:
        raise BadField(f"'verdict' {verdict!r} is neither yes nor no")
    return Link(id_of(record, "source"), id_of(record, "target"), text_of(record, "relation", "linked"))
