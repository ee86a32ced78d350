"""A write-ahead journal: what must not be lost is on disk before its caller is told so.

Records that arrive while the disk works are written and synchronised together (group commit; Gray and Reuter,
"Transaction Processing", 1993), so the rate does not hang on the disk's latency. Each process has a file of its own.
A kill can leave part of a line at the end of a file, and of no other record: readers leave it out, and say so.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from data.journals import SUFFIX
from serving.batcher import Batcher

NOTES = 10_000  # kept in memory at most; the oldest go where nothing is committed for so long


class Journal:
    """Appends records to a file that is made for it.

    Args:
        folder: of the journals; made where it is absent.

    Raises:
        OSError: if the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{secrets.token_hex(4)}"
        self.path = folder / f"{name}{SUFFIX}"
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        _sync_folder(folder)
        self._notes: list[bytes] = []
        self._torn = False
        self._commit = Batcher[bytes, None](self._write, max_items=8192, phases=False)

    async def commit(self, records: Sequence[Any]) -> None:
        """Write records, and what was noted before them; they are on disk when this returns.

        Args:
            records: of what JSON has.

        Raises:
            OSError: if they cannot be written; some of them may have been.
        """
        await self._append([orjson.dumps(record) for record in records])

    def note(self, record: Any) -> None:  # noqa: ANN401 - whatever JSON has
        """Write a record with the next that is committed; a kill before that loses it."""
        self._notes.append(orjson.dumps(record))
        del self._notes[:-NOTES]

    @property
    def noted(self) -> bool:
        """Whether something was noted that is not written."""
        return bool(self._notes)

    async def flush(self) -> None:
        """Write what was noted.

        Raises:
            OSError: if it cannot be written; it is noted again then.
        """
        await self._append([])

    async def _append(self, lines: list[bytes]) -> None:
        notes, self._notes = self._notes, []
        try:
            await self._commit.many([*notes, *lines])
        except OSError:
            self._notes = notes + self._notes
            raise

    def close(self) -> None:
        """Write what was noted, and close the file; once."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            self._write(self._notes)
        os.close(self._file)
        self._file, self._notes = -1, []

    def _write(self, lines: Sequence[bytes]) -> list[None]:
        data = (b"\n" if self._torn else b"") + b"".join(line + b"\n" for line in lines)
        self._torn = True
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        os.fdatasync(self._file)
        self._torn = False
        return [None] * len(lines)


def _sync_folder(folder: Path) -> None:
    """Make the names of new files in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
