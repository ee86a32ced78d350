"""Journals that services write: files of records, a line of JSON each, that are only ever added to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

SUFFIX = ".journal.jsonl"


def read_journals(folder: Path, sizes: Mapping[str, int] | None = None) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Places and records of journals, in the order of their names; None for a line that is no record.

    Args:
        folder: of the journals.
        sizes: bytes of each file, by its name, that are read; all journals whole where None.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        left = path.stat().st_size if sizes is None else sizes.get(path.name, 0)
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                left -= len(line)
                if left < 0:
                    break
                if not line.strip():
                    continue
                place = f"{path.name} line {number}"
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    record = None
                yield place, record if isinstance(record, dict) and line.endswith(b"\n") else None


def sizes_of(folder: Path) -> dict[str, int]:
    """Bytes of each journal that holds something, by its name: as they only grow, this says what all of them say."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob(f"*{SUFFIX}"))}
    return {name: size for name, size in sizes.items() if size}
