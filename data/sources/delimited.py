"""CSV and TSV: one reader for the header and the rows, and for every table.

Fields in quotes follow RFC 4180: a quote within one is doubled, and it may hold line ends. A record that breaks the
rules, or whose quote is open at the end of the file, is rejected line by line: no line is lost silently.
"""

import csv
import itertools
import re
from collections.abc import Iterator
from typing import Literal

from data.errors import InputError
from data.sources.lines import Broken, Line, Records, lines
from data.sources.remote import FIRST, RemoteFile, SourceFile

LONGEST_FIELD = 2**28  # most characters of one field: beyond that an open quote is an error
SAMPLE = 2**20  # characters of a local TSV file that are read to find whether its fields are quoted
REMOTE_SAMPLE = FIRST // 2

Fields = list[str]

_FIELD = re.compile(r'("[^"]*(?:""[^"]*)*"|[^"\t\n]*)([\t\n])')


def delimited(
    file: SourceFile, format_: Literal["csv", "tsv"], columns: list[str] | None = None, quoted: bool | None = None
) -> Records:
    """Records of a CSV or TSV file, each with the number of its first line.

    Args:
        file: the file.
        format_: comma or tab between fields.
        columns: names of the fields of a file without a header; the first record is the header where not given.
        quoted: whether fields may be quoted; where None, CSV yes, TSV as ``has_quotes`` finds.
    """
    for position, fields in _fields(file, format_, quoted):
        if isinstance(fields, Broken):
            yield position, fields
        elif columns is None:
            columns = fields
        elif len(fields) == len(columns):
            yield position, dict(zip(columns, fields, strict=True))
        else:
            yield position, Broken(f"{len(fields)} fields, {len(columns)} expected", "\t".join(fields)[:500])


def header(file: SourceFile, format_: Literal["csv", "tsv"], quoted: bool | None = None) -> Fields:
    """Names of the columns: the first record.

    Raises:
        InputError: if the file is empty, or its first record cannot be read.
    """
    for _, fields in _fields(file, format_, quoted):
        if isinstance(fields, Broken):
            raise InputError(f"{file}: the header cannot be read: {fields.reason}", "Save it as UTF-8, quotes closed.")
        return fields
    raise InputError(f"{file}: empty, not even a header", "Write the names of the columns on the first line.")


def has_quotes(file: SourceFile) -> bool:
    """Whether the fields of a TSV file are quoted, judged by its beginning.

    They are if at least one field is quoted, every field that holds a quote is quoted as in CSV, and all records read
    that way have the same number of fields. If a quoted field would then hold a tab or a line end, but lines split
    without regard to quotes also have the same number of fields each, the quotes are part of the text.
    """
    sample, _, whole = _sampled(lines(file), REMOTE_SAMPLE if isinstance(file, RemoteFile) else SAMPLE)
    return _in_quotes([line.text for line in sample], whole)


def _in_quotes(sample: list[str], whole: bool) -> bool:
    text = "".join(f"{line}\n" for line in sample if line)
    if '"' not in text:
        return False
    widths, width, quoted, across, start = set(), 0, 0, False, 0
    while start < len(text):
        match = _FIELD.match(text, start)
        if match is None:
            rest = text[start:]
            if whole or not rest.startswith('"') or '"' in rest[1:].replace('""', ""):
                return False
            break  # the sample ends within a quoted field
        field, end = match.groups()
        width += 1
        if field.startswith('"'):
            quoted += 1
            across = across or "\t" in field or "\n" in field
        if end == "\n":
            widths.add(width)
            width = 0
        start = match.end()
    plain = {line.count("\t") for line in sample if line}
    return quoted > 0 and len(widths) == 1 and not (across and len(plain) == 1)


def _sampled(source: Iterator[Line], size: int) -> tuple[list[Line], Iterator[Line], bool]:
    """The first lines of a file, all of its lines, and whether these are the same."""
    sample: list[Line] = []
    characters = 0
    for line in source:
        sample.append(line)
        characters += len(line.text)
        if characters >= size:
            return sample, itertools.chain(sample, source), False
    return sample, iter(sample), True


class _Feed:
    """Hands lines to the csv module and remembers those of the record that is being read."""

    def __init__(self, source: Iterator[Line]) -> None:
        self.record: list[Line] = []
        self.problem = ""
        self.ended = False
        self._source = source

    def begin(self) -> None:
        """Clear the lines of the previous record."""
        self.record = []
        self.problem = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._source, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.record.append(line)
        self.problem = self.problem or line.problem
        return line.text + "\n"


def _fields(
    file: SourceFile, format_: Literal["csv", "tsv"], quoted: bool | None
) -> Iterator[tuple[int, Fields | Broken]]:
    """The fields of every record, blank lines left out."""
    csv.field_size_limit(LONGEST_FIELD)  # its default of 128 KiB is less than one long document
    if quoted is None:
        quoted = format_ == "csv" or has_quotes(file)
    feed = _Feed(lines(file))
    reader = csv.reader(
        feed,
        delimiter="," if format_ == "csv" else "\t",
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        feed.begin()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            reason = "a quote that is never closed" if feed.ended else f"not {format_.upper()}: {error}"
            yield from _broken(feed.record, reason)
            continue
        if fields is None:
            return
        if feed.problem:
            yield from _broken(feed.record, feed.problem)
        elif fields:
            yield feed.record[0].number, fields


def _broken(record: list[Line], reason: str) -> Iterator[tuple[int, Broken]]:
    """Every line of a record that cannot be read."""
    place = f": in the record of line {record[0].number}" if len(record) > 1 else ""
    for line in record:
        yield line.number, line.broken() if line.problem else Broken(f"{reason}{place}", line.text[:500])
