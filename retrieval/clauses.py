"""Filters as engines ask them: each condition on a field of payloads that holds values of one kind."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.errors import InputError
from data.metadata import Scalar
from retrieval.filter_keys import (
    DOCUMENT_ID,
    FilterKey,
    Kind,
    Stored,
    boolean,
    find_key,
    moment,
    number,
    payload_field,
)
from retrieval.filters import AnyOf, Condition, Exists, Filter, Range

_NOUNS: Mapping[Kind, str] = {
    "text": "text",
    "integer": "integer of 64 bits",
    "float": "number",
    "boolean": "boolean",
    "time": "time",
}
_EXAMPLES: Mapping[Kind, str] = {
    "text": "text",
    "integer": "1990",
    "float": "0.5",
    "boolean": "true",
    "time": "2024-01-02 or 2024-01-02T10:00:00Z",
}


@dataclass(frozen=True)
class Match:
    """A field holds one of some values."""

    field: str
    values: tuple[Stored, ...]


@dataclass(frozen=True)
class Between:
    """A field holds a number, or a time in RFC 3339, within bounds."""

    field: str
    bounds: Mapping[str, Stored]
    times: bool


@dataclass(frozen=True)
class Present:
    """A field holds a value."""

    field: str


@dataclass(frozen=True)
class Every:
    """All clauses hold."""

    clauses: tuple["Clause", ...]


@dataclass(frozen=True)
class Some:
    """At least one of the clauses holds; there is at least one."""

    clauses: tuple["Clause", ...]


@dataclass(frozen=True)
class Without:
    """A clause does not hold."""

    clause: "Clause"


Clause = Match | Between | Present | Every | Some | Without


@dataclass(frozen=True)
class _Fields:
    """A key of an index and the fields that hold its values."""

    key: FilterKey
    by_kind: Mapping[Kind, str]

    @classmethod
    def of(cls, path: tuple[str, ...], keys: Sequence[FilterKey]) -> "_Fields":
        if path == (DOCUMENT_ID,):
            return cls(FilterKey(path=path, kinds=("text",)), {"text": DOCUMENT_ID})
        key = find_key(keys, path)
        position = list(keys).index(key)
        return cls(key, {kind: payload_field(position, kind) for kind in key.kinds})

    def refuse(self, given: str) -> InputError:
        """The error for values or bounds that the key cannot have."""
        nouns = " or ".join(_NOUNS[kind] for kind in self.key.kinds)
        examples = "; ".join(_EXAMPLES[kind] for kind in self.key.kinds)
        return InputError(f"filter by {self.key.name!r}: {given} is no {nouns}", f"Give it a value such as {examples}.")


def clause(filter_: Filter, keys: Sequence[FilterKey]) -> Clause | None:
    """A filter as engines ask it; None where it has no conditions.

    Args:
        filter_: what must hold.
        keys: the keys of the index, in its order.

    Raises:
        InputError: if the filter names a key that the index cannot filter by, a range of a key that holds neither
            numbers nor times, or a value that no value of the key can equal.
    """
    parts = [_condition(condition, _Fields.of(condition.path, keys)) for condition in filter_.conditions]
    excluded = (clause(inner, keys) for inner in filter_.excluded)
    parts += [Without(inner) for inner in excluded if inner is not None]
    if len(parts) > 1:
        return Every(tuple(parts))
    return parts[0] if parts else None


def _condition(condition: Condition, fields: _Fields) -> Clause:
    if isinstance(condition, Exists):
        return _some([Present(field) for field in fields.by_kind.values()])
    return _range(condition, fields) if isinstance(condition, Range) else _any_of(condition, fields)


def _any_of(condition: AnyOf, fields: _Fields) -> Clause:
    matched: dict[Kind, list[Stored]] = {}
    clauses: list[Clause] = []
    for value in condition.values:
        read = _readings(value, fields.key)
        if not read:
            raise fields.refuse(repr(value))
        for kind, stored in read.items():
            if kind in ("float", "time") or isinstance(stored, float):  # engines match no floats, and ranges of times
                clauses.append(Between(fields.by_kind[kind], {"gte": stored, "lte": stored}, kind == "time"))
            else:
                matched.setdefault(kind, []).append(stored)
    clauses += [Match(fields.by_kind[kind], tuple(dict.fromkeys(values))) for kind, values in matched.items()]
    return _some(clauses)


def _range(condition: Range, fields: _Fields) -> Clause:
    ranged: list[Kind] = [kind for kind in fields.key.kinds if kind in ("integer", "float", "time")]
    if not ranged:
        raise InputError(
            f"filter by {fields.key.name!r}: it holds {' and '.join(fields.key.kinds)}, which has no ranges",
            "Ranges are of numbers and times. Texts count as such where all texts of the key are numbers, or ISO 8601.",
        )
    given = condition.bounds()
    for kind in ranged:
        read = {name: _bound(value, kind) for name, value in given.items()}
        bounds: dict[str, Stored] = {name: bound for name, bound in read.items() if bound is not None}
        if len(bounds) == len(given):
            return Between(fields.by_kind[kind], bounds, kind == "time")
    raise fields.refuse(", ".join(f"{name} {value!r}" for name, value in given.items()))


def _readings(value: Scalar, key: FilterKey) -> dict[Kind, Stored]:
    """What a filter's value is in each kind of a key that it can be read as; a text, as on the command line, in all."""
    found = {kind: read for kind in key.kinds if (read := _reading(value, kind)) is not None}
    return found if isinstance(value, str) or len(found) < 2 else {k: v for k, v in found.items() if k != "text"}


def _reading(value: Scalar, kind: Kind) -> Stored | None:
    if kind == "text":
        return value if isinstance(value, str) else json.dumps(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return boolean(value)
        return value if value in ("true", "false") else None
    if kind == "time":
        return moment(value) if isinstance(value, str) else None
    read = number(value) if isinstance(value, str) else None if isinstance(value, bool) else value
    if read is None or kind == "float":
        return None if read is None else float(read)
    if isinstance(read, float) and not read.is_integer():
        return read
    return int(read) if -(2**63) <= read < 2**63 else None


def _bound(value: Scalar, kind: Kind) -> Stored | None:
    """A bound as engines take it: a 64-bit float, or a time."""
    read = _reading(value, kind)
    return float(read) if isinstance(read, int | float) else read


def _some(clauses: Sequence[Clause]) -> Clause:
    return clauses[0] if len(clauses) == 1 else Some(tuple(clauses))
