"""Documents that were put and deleted while a run was served, as a part of its corpus.

One file of JSON Lines: first how many writes there were, then an id a line, with the document as it was put or the word
that it was deleted. A document has the last word over the reader's one of its id.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import whole_or_absent
from data.sources.rows import Document, Reading, ReadTask


@dataclass(frozen=True)
class LiveChanges:
    """What the file says, without the documents themselves.

    Args:
        writes: number of the last write that is in it.
        put: ids of documents.
        deleted: ids.
    """

    writes: int
    put: frozenset[str]
    deleted: frozenset[str]


def write_live(path: Path, changes: Iterable[tuple[int, str, dict[str, Any] | None]]) -> int:
    """Write the file, whole or not at all.

    Args:
        path: of the file; its folder exists.
        changes: number of the last write, id, and columns ``title``, ``text``, ``metadata`` and ``time``, or None where
            it was deleted; in the order of their numbers.

    Returns:
        Number of the last write, 0 where there is none.
    """
    last = 0
    with whole_or_absent(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(f"{'':31}\n")
        for number, id_, document in changes:
            last = number
            row = {"id": id_, "deleted": True} if document is None else {"id": id_, **document}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.seek(0)
        file.write(json.dumps({"writes": last}))
    return last


def read_changes(path: Path) -> LiveChanges:
    """Which documents were put and deleted.

    Raises:
        InputError: if the file is gone, or another's.
    """
    put: set[str] = set()
    deleted: set[str] = set()
    for _, row in _rows(path):
        (deleted if row.get("deleted") else put).add(row["id"])
    return LiveChanges(writes_of(path), frozenset(put), frozenset(deleted))


def writes_of(path: Path) -> int:
    """Number of the last write that is in the file.

    Raises:
        InputError: if the file is gone, or another's.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return int(json.loads(file.readline())["writes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"source.live: {path} is no file of documents that were put: {error!r}",
            "`catena index` writes it; take the key out of the run file.",
        ) from error


def digest_of(path: Path) -> str:
    """What the file says, as a digest: the same documents give the same tables.

    Raises:
        InputError: if the file is gone.
    """
    writes_of(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def live_task(path: Path) -> ReadTask:
    """The task that reads the documents that were put."""
    return ReadTask(str(path), "line", partial(_read, path))


def _read(path: Path) -> Reading:
    for position, row in _rows(path):
        if not row.get("deleted"):
            time = None if row["time"] is None else datetime.fromisoformat(row["time"])
            yield position, Document(row["id"], row["title"], row["text"], row["metadata"], time)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for position, line in enumerate(file, start=1):
            if position > 1:
                yield position, json.loads(line)
