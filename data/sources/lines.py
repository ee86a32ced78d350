"""Lines of a text file, plain or gzip, with their numbers; bytes that are not UTF-8 are replaced, not raised.

Memory does not depend on the length of the file: one line at a time. A line ends with LF, CR LF, or CR alone.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, BinaryIO, NamedTuple, cast

from data.errors import InputError
from data.sources.remote import SourceFile


class Broken(NamedTuple):
    """A line or row that is no record: why, and its beginning."""

    reason: str
    content: str


Record = dict[str, Any]
Records = Iterator[tuple[int, Record | Broken]]


class Line(NamedTuple):
    """A line without its end.

    Args:
        number: from 1.
        text: of the line, with a replacement character for each byte that is not UTF-8.
        problem: why it cannot be used; empty where it can.
    """

    number: int
    text: str
    problem: str = ""

    def broken(self) -> Broken:
        """The line as a reject."""
        return Broken(self.problem, self.text[:500])


def lines(file: SourceFile) -> Iterator[Line]:
    """The lines of a text file; gzip is recognised by its first bytes.

    Raises:
        InputError: if the file is a damaged gzip.
    """
    with file.open("rb") as plain:
        zipped = cast("BufferedReader", plain).peek(2)[:2] == b"\x1f\x8b"
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if zipped else plain
        number = offset = 0
        try:
            with io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="") as decoded:
                for raw in decoded:
                    number += 1
                    if raw.isascii():  # nearly every line of nearly every file: nothing to check, a byte a character
                        yield Line(number, raw.rstrip("\r\n"))
                        offset += len(raw)
                        continue
                    size, line = _checked(raw, number, offset)
                    yield line
                    offset += size
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{file}: damaged gzip after line {number}: {error}", "Fetch or pack the file again."
            ) from None


def _checked(raw: str, number: int, offset: int) -> tuple[int, Line]:
    """A line as the decoder gave it, bytes that are no UTF-8 as lone surrogates; and its length in bytes."""
    text = raw.rstrip("\r\n")
    if offset == 0:
        text = text.removeprefix("\ufeff")  # the byte order mark that spreadsheets write
    try:
        return len(raw.encode()), Line(number, text)
    except UnicodeEncodeError as error:
        at = offset + len(raw[: error.start].encode())
        size = len(raw.encode("utf-8", "surrogateescape"))
        lossy = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return size, Line(number, lossy, f"not UTF-8 at byte {at}")
