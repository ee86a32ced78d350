"""Cells of a record that are lists: of ids, of numbers, of what a ranking showed."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.missing import is_missing
from data.sources import cells
from data.sources.cells import BadCell
from data.sources.fields import BadField, cell_of, id_of
from data.sources.lines import Record

PROPENSITIES_SUM = 1e-3  # how far from 1 the propensities of what was shown may sum: logs keep few digits


@dataclass(frozen=True)
class Shown:
    """What a trace shows, best first: ids, and scores and propensities where all of them have one."""

    ids: list[str]
    scores: list[float] | None
    propensities: list[float] | None

    @classmethod
    def of(cls, record: Record, shown: str, scores: str, propensities: str) -> "Shown":
        """Of the columns of a record.

        Raises:
            BadField: if lists do not have one value for each id, or propensities are no probabilities that sum to 1.
        """
        found = list_of(record, shown)
        if found and all(isinstance(one, Mapping) for one in found):
            found = _by_rank(found, shown)
            values = {name: [one.get(name) for one in found] for name in ("score", "propensity")}
            ids, given = [id_of(dict(one), "id") for one in found], (values["score"], values["propensity"])
        else:
            ids, given = ids_of(record, shown), (list_of(record, scores), list_of(record, propensities))
        if len(set(ids)) < len(ids):
            raise BadField(f"{shown!r} has a capability twice: {cells.shortened(_twice(ids))}")
        return cls(ids, _numbers(given[0], ids, scores), _propensities(given[1], ids, propensities))


def list_of(record: Record, field: str) -> list[Any]:
    """A cell as a list; empty where it is missing.

    Raises:
        BadField: if it is JSON that is no list.
    """
    value = record.get(field)
    if isinstance(value, list | tuple | np.ndarray):
        return list(value)
    if is_missing(value) or value == "":
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return list(json.loads(value))
        except ValueError as error:
            raise BadField(f"{field!r} is not JSON: {error}") from None
    if isinstance(value, str):
        return [part.strip() for part in value.split("|")]
    raise BadField(f"{field!r} is not a list: {type(value).__name__}")


def ids_of(record: Record, field: str) -> list[str]:
    """A cell as a list of ids.

    Raises:
        BadField: if a member is none.
    """
    found = []
    for place, value in enumerate(list_of(record, field)):
        try:
            member = "" if is_missing(value) else cells.text(value)
        except BadCell as error:
            raise BadField(f"{field!r} [{place}] {error}") from None
        if not member.strip():
            raise BadField(f"{field!r} [{place}] is empty")
        found.append(member)
    return found


def schema_of(record: Record, field: str) -> str | None:
    """A cell as a JSON Schema, written as JSON; None where it is missing.

    Raises:
        BadField: if it is no JSON object.
    """
    value = record.get(field)
    if is_missing(value) or value == "":
        return None
    try:
        read = json.loads(value) if isinstance(value, str) else value
        if not isinstance(read, Mapping):
            raise BadField(f"{field!r} is not an object: {type(read).__name__}")
        return json.dumps(read, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, BadField) else BadField(f"{field!r} is not JSON: {error}") from None


def _by_rank(found: Sequence[Mapping[str, Any]], field: str) -> list[Mapping[str, Any]]:
    ranks = [cell_of(dict(one), "rank", cells.number) for one in found]
    given = [rank for rank in ranks if rank is not None]
    if not given:
        return list(found)
    if len(given) < len(found) or len(set(given)) < len(given):
        raise BadField(f"{field!r}: each has a rank of its own, or none has one")
    return [found[place] for place in np.argsort(given)]


def _numbers(values: Sequence[object], ids: Sequence[str], field: str) -> list[float] | None:
    """A number for each id; None where one or all are missing."""
    if values and len(values) != len(ids):
        raise BadField(f"{field!r} has {len(values)} values for {len(ids)} capabilities shown")
    numbers = [cell_of({field: value}, field, cells.number) for value in values]
    known = [number for number in numbers if number is not None]
    return known if known and len(known) == len(ids) else None


def _propensities(values: Sequence[object], ids: Sequence[str], field: str) -> list[float] | None:
    numbers = [cell_of({field: value}, field, cells.number) for value in values]
    given = [number for number in numbers if number is not None]
    outside = [number for number in given if not 0 <= number <= 1]
    if outside:
        raise BadField(f"{field!r} is outside 0 to 1: {outside[0]:g}")
    if 0 in given:
        raise BadField(f"{field!r} is not above 0: 0")
    known = _numbers(values, ids, field)
    if known is not None and not math.isclose(sum(known), 1.0, abs_tol=PROPENSITIES_SUM):
        raise BadField(f"{field!r} of what was shown sum to {sum(known):.4g}, not to 1")
    return known


def _twice(ids: Sequence[str]) -> str:
    return next(id_ for place, id_ in enumerate(ids) if id_ in ids[:place])
