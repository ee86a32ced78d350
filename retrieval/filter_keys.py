"""The metadata keys of an index: what kinds of value each holds, where these are in a payload, how a filter reads them.

An engine's own rules of comparison differ from those of JSON and from another engine's: a payload holds a copy of its
metadata by kind under ``filters``, and filters ask that. Field ``k3_integer`` holds the integers of key 3, for example.
"""

import logging
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError, nearest
from data.metadata import Metadata, Path, Scalar, leaves, path_text
from retrieval.filters import parse_path

logger = logging.getLogger("catena")

Kind = Literal["text", "integer", "float", "boolean", "time"]
Stored = str | int | float

MOST_KEYS = 64  # indexed unless named: each is an index of its own, of about 0.1 s to make and 10 ms to open in Edge
MOST_SEEN = 100_000  # counted separately: objects with ids for keys have as many as there are ids
DOCUMENT_ID = "document_id"

_INT64 = range(-(2**63), 2**63)
_LARGEST_FLOAT = sys.float_info.max
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_DIGITS = 15  # a decimal with so many differs from any other as a 64-bit float
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


class FilterKey(StageConfig):
    """A key that filters can name, and the kinds of its values."""

    path: Path = Field(description="keys from the outermost object to the value")
    kinds: tuple[Kind, ...] = Field(description="how its values are compared")

    @property
    def name(self) -> str:
        """The path as filters write it."""
        return path_text(self.path)


def number(text: str) -> int | float | None:
    """The number that a text is: one that is written without leading zeros and that a 64-bit number holds exactly."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    if found[2] is None and found[3] is None:
        return int(text) if len(text) < 21 and int(text) in _INT64 else None
    value = float(text)
    digits = len(re.sub(r"[eE].*|[-.]", "", text).lstrip("0"))
    return value if digits <= _DIGITS and math.isfinite(value) else None


def moment(text: str) -> str | None:
    """The time that a text is, in RFC 3339 and UTC: a date is its first moment, a time without a zone is in UTC."""
    if _TIME.fullmatch(text) is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed.isoformat().removesuffix("+00:00") + "Z"


@dataclass
class _Seen:
    """What occurs under one key."""

    documents: int = 0
    booleans: bool = False
    integers: bool = False
    floats: bool = False
    texts: bool = False
    all_numbers: bool = True  # of the texts
    some_floats: bool = False
    all_times: bool = True

    def add(self, value: Scalar) -> None:
        if isinstance(value, bool):
            self.booleans = True
        elif isinstance(value, int):
            self.integers |= value in _INT64
            self.floats |= value not in _INT64
        elif isinstance(value, float):
            self.floats = True
        else:
            self.texts = True
            if self.all_numbers:
                read = number(value)
                self.all_numbers = read is not None
                self.some_floats |= isinstance(read, float)
            if self.all_times:
                self.all_times = moment(value) is not None

    def kinds(self) -> tuple[Kind, ...]:
        kinds: set[Kind] = {"boolean"} if self.booleans else set()
        floats, integers = self.floats, self.integers
        if self.texts and self.all_numbers:
            floats, integers = floats or self.some_floats, True
        elif self.texts:
            kinds.add("time" if self.all_times else "text")
        if floats or integers:
            kinds.add("float" if floats else "integer")
        return tuple(sorted(kinds))


def filter_keys(documents: Iterable[Metadata], wanted: Sequence[str] | None = None) -> tuple[FilterKey, ...]:
    """The keys of all documents, sorted, with the kinds of their values.

    A text counts as a number or a time where all texts of its key are such: cells of a CSV file have no other type.

    Args:
        documents: metadata of every document.
        wanted: keys to filter by, as filters write them; every key where None, the commonest ones if there are many.

    Raises:
        InputError: if a wanted key does not occur; it names the nearest that does.
    """
    needed = None if wanted is None else {parse_path(name) for name in wanted}
    seen: dict[Path, _Seen] = {}
    for metadata in documents:
        counted: set[Path] = set()
        for path, value in leaves(metadata):
            found = seen.get(path)
            if found is None:
                if len(seen) >= MOST_SEEN and path not in (needed or ()):
                    continue
                found = seen[path] = _Seen()
            found.add(value)
            if path not in counted:
                counted.add(path)
                found.documents += 1
    if seen.pop((DOCUMENT_ID,), None) is not None:
        logger.warning("index: no filter by the metadata key %s: it names the document itself", DOCUMENT_ID)
    keys = [FilterKey(path=path, kinds=found.kinds()) for path, found in sorted(seen.items())]
    if needed is not None:
        chosen = {find_key(keys, path).path for path in needed if path != (DOCUMENT_ID,)}
        return tuple(key for key in keys if key.path in chosen)
    if len(keys) > MOST_KEYS:
        common = {key.path for key in sorted(keys, key=lambda key: -seen[key.path].documents)[:MOST_KEYS]}
        logger.warning(
            "index: %s metadata keys, filters take the %s commonest; name others in index.filter_keys",
            f"{len(keys):,}",
            MOST_KEYS,
        )
        keys = [key for key in keys if key.path in common]
    return tuple(keys)


def fields(keys: Sequence[FilterKey]) -> list[tuple[str, Kind]]:
    """Every field of a payload that filters ask, with the kind of its values."""
    of_keys = [(payload_field(n, kind), kind) for n, key in enumerate(keys) for kind in key.kinds]
    return [(DOCUMENT_ID, "text"), *of_keys]


def payload_field(position: int, kind: Kind) -> str:
    """Where a payload holds the values of one kind of the key at a position."""
    return f"filters.k{position}_{kind}"


class FilterValues:
    """Metadata by field, as payloads hold it under ``filters``.

    Args:
        keys: the keys of the index, in its order.
        foreign: whether documents may have values of a kind that their key lacks; no filter finds those.
    """

    def __init__(self, keys: Sequence[FilterKey], foreign: bool = False) -> None:
        self._numbered = {key.path: (n, key) for n, key in enumerate(keys)}
        self._foreign = foreign

    def __call__(self, metadata: Metadata) -> dict[str, list[Stored]]:
        """The values of one document."""
        made: dict[str, list[Stored]] = {}
        for path, value in leaves(metadata):
            if path in self._numbered:
                n, key = self._numbered[path]
                found = _stored(value, key)
                if found is None:
                    assert self._foreign, f"{value!r} has none of the kinds {key.kinds}"
                    continue
                kind, stored = found
                made.setdefault(payload_field(n, kind).removeprefix("filters."), []).append(stored)
        return made


def find_key(keys: Sequence[FilterKey], path: Path) -> FilterKey:
    """The key at a path; a key that has dots in it is found without quotes where no nested one is meant.

    Raises:
        InputError: if there is none; it names the nearest.
    """
    for key in keys:
        if key.path == path:
            return key
    dotted = [key for key in keys if ".".join(key.path) == ".".join(path)]
    if len(dotted) == 1:
        return dotted[0]
    names = [DOCUMENT_ID, *(key.name for key in keys)]
    within = [key.name for key in keys if key.path[: len(path)] == path]
    remedy = f"it is an object; filter by {', '.join(within[:5])}" if within else nearest(path_text(path), names)
    raise InputError(f"no filter by {path_text(path)[:200]!r}", remedy)


def _stored(value: Scalar, key: FilterKey) -> tuple[Kind, Stored] | None:
    """Which of a key's kinds a value is, and the value as it is compared; None where it is none of them."""
    if isinstance(value, bool):
        return ("boolean", boolean(value)) if "boolean" in key.kinds else None
    read: int | float | None = value if not isinstance(value, str) else None
    if isinstance(value, str):
        if "text" in key.kinds:
            return "text", value
        if "time" in key.kinds and (time := moment(value)) is not None:
            return "time", time
        read = number(value)
    if read is None:
        return None
    if "float" in key.kinds:
        return ("float", float(read)) if abs(read) <= _LARGEST_FLOAT else None
    return ("integer", read) if "integer" in key.kinds and isinstance(read, int) and read in _INT64 else None


def boolean(value: bool) -> str:
    """A boolean as payloads hold it: Qdrant Edge 0.9 takes a boolean in a condition for the integer 1 or 0."""
    return "true" if value else "false"
