"""Filters on metadata: what a passage's document must have, as a model, as JSON and as words of the command line.

=================================  ===========================================  ========================================
JSON                               words                                        holds where
=================================  ===========================================  ========================================
``{"lang": "en"}``                 ``lang=en``                                  the value is ``en``
``{"lang": ["en", "de"]}``         ``lang=en`` ``lang=de``                      the value is one of these
``{"year": {"gte": 1990}}``        ``year>=1990``                               it is a number or time in the range;
                                                                                ``gt gte lt lte``, ``> >= < <=``
``{"tags": {"exists": true}}``     ``tags``                                     there is a value
``{"not": {"draft": true}}``       ``!draft=true``                              the filter in ``not`` does not hold
``{"author.name": "Ann"}``         ``author.name=Ann``                          the value at the path is ``Ann``
=================================  ===========================================  ========================================

Conditions on several keys must all hold. A list holds where one of its members does. A key with a dot in it, or one
that is called ``not``, is quoted: ``"v1.0"=yes``. ``document_id`` is a key as well.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from data.errors import InputError, nearest
from data.metadata import BadMetadata, Path, Scalar, metadata_value, path_text
from data.surrogates import valid_unicode

Bound = Literal["gt", "gte", "lt", "lte"]
BOUNDS: tuple[Bound, ...] = get_args(Bound)
_NOT_EQUAL = re.compile(r'[^"=<>]*!=')
_BLANKS = re.compile(r'[^"=<>]*(\s[=<>]|[=<>]+\s)')
_SIGNS: Mapping[str, Bound] = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
_DEPTH = 8  # of filters under `not` in each other
_SHOWN = '{"year": {"gte": 1990}, "lang": ["en", "de"], "not": {"draft": true}}'
_EXAMPLES = "Write KEY=VALUE, KEY>=VALUE, KEY for any value, or !KEY=VALUE for any other: --filter 'year>=1990'."


@dataclass(frozen=True)
class AnyOf:
    """One of some values."""

    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """Numbers or times between bounds; a bound that is None does not bound."""

    path: Path
    gt: Scalar | None = None
    gte: Scalar | None = None
    lt: Scalar | None = None
    lte: Scalar | None = None

    def bounds(self) -> dict[Bound, Scalar]:
        """The bounds that are given."""
        given: dict[Bound, Scalar | None] = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Exists:
    """Any value."""

    path: Path


Condition = AnyOf | Range | Exists


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold, and filters of which none may hold."""

    conditions: tuple[Condition, ...] = ()
    excluded: tuple["Filter", ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conditions or self.excluded)

    def paths(self) -> Iterator[Path]:
        """The paths of all conditions."""
        yield from (condition.path for condition in self.conditions)
        for inner in self.excluded:
            yield from inner.paths()

    def as_json(self) -> dict[str, Any]:
        """The filter in its JSON form; ``parse_filter`` gives one back that lets the same documents pass."""
        given: dict[str, Any] = {}
        excluded = [inner.as_json() for inner in self.excluded]
        for condition in self.conditions:
            key = path_text(condition.path)
            if key in given:  # a JSON object holds a key once
                excluded.append({"not": Filter((condition,)).as_json()})
            else:
                given[key] = _json_of(condition)
        return {**given, "not": excluded} if excluded else given


def parse_filter(given: Mapping[str, Any], depth: int = 0) -> Filter:
    """A filter from its JSON form.

    Raises:
        InputError: if it is of another form; it names the key.
    """
    if not isinstance(given, Mapping):
        raise InputError(
            f"a filter is an object of keys and values, not {_shown(given)}", f"A filter is JSON such as {_SHOWN}."
        )
    if depth > _DEPTH:
        raise InputError(f"filters are nested deeper than {_DEPTH}", "Use fewer `not`.")
    conditions: list[Condition] = []
    excluded: list[Filter] = []
    for key, value in given.items():
        if key == "not":
            inner = [parse_filter(one, depth + 1) for one in (value if isinstance(value, list | tuple) else [value])]
            if not inner or not all(inner):
                raise InputError("filter: `not` holds no condition", f"A filter is JSON such as {_SHOWN}.")
            excluded += inner
            continue
        path = parse_path(key)
        if not isinstance(value, Mapping):
            conditions.append(AnyOf(path, _values(key, value)))
        elif set(value) == {"exists"} and isinstance(value["exists"], bool):
            exists = Exists(path)
            if value["exists"]:
                conditions.append(exists)
            else:
                excluded.append(Filter((exists,)))
        else:
            conditions.append(Range(path, **_bounds(key, value)))
    return Filter(tuple(conditions), tuple(excluded))


def _json_of(condition: Condition) -> Any:  # noqa: ANN401 - any JSON value
    match condition:
        case AnyOf():
            return list(condition.values)
        case Range():
            return condition.bounds()
        case Exists():
            return {"exists": True}


def parse_words(words: Sequence[str]) -> Filter:
    """A filter from words of the command line; conditions on one key that are not negated are taken together.

    Raises:
        InputError: if a word is of another form; it names the word.
    """
    values: dict[Path, tuple[Scalar, ...]] = {}
    bounds: dict[Path, dict[Bound, Scalar]] = {}
    exist: list[Path] = []
    excluded: list[Filter] = []
    for word in words:
        path, sign, value = _word(word.removeprefix("!"), word)
        if word.startswith("!"):
            excluded.append(Filter((_condition(path, sign, value),)))
        elif not sign:
            exist.append(path)
        elif sign == "=":
            values[path] = (*values.get(path, ()), value)
        elif _SIGNS[sign] in bounds.setdefault(path, {}):
            raise InputError(f"--filter {word}: a second bound {sign} on {path_text(path)!r}", "Give each bound once.")
        else:
            bounds[path][_SIGNS[sign]] = value
    conditions: list[Condition] = [AnyOf(path, allowed) for path, allowed in values.items()]
    conditions += [Range(path, **given) for path, given in bounds.items()]
    conditions += [Exists(path) for path in dict.fromkeys(exist)]
    return Filter(tuple(conditions), tuple(excluded))


def parse_path(text: str) -> Path:
    """The keys of a dotted path; a key in double quotes, escaped as in JSON, may hold any character.

    Raises:
        InputError: if a key is empty or a quote is not closed.
    """
    if not valid_unicode(text):
        raise InputError(f"filter: the key {text!r} is not valid Unicode", "Remove the lone surrogates.")
    path, rest = _read_path(text, stops="")
    if rest:
        raise InputError(f"filter: {rest!r} after a closed quote in {text!r}", 'Write "a.b".c for c in a.b.')
    return path


def _read_path(text: str, stops: str) -> tuple[Path, str]:
    """The path at the beginning of a text, up to one of the characters in ``stops``, and the rest."""
    path: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            try:
                key, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                problem = f"filter: a quote is not closed in {text!r}"
                raise InputError(problem, "Close it, or escape it with a backslash.") from None
        else:
            end = next((at for at, sign in enumerate(rest) if sign == "." or sign in stops), len(rest))
            key = rest[:end]
        if not key:
            raise InputError(f"filter: a key is empty in {text!r}", "Name the key, as in author.name.")
        path.append(key)
        rest = rest[end:]
        if not rest.startswith("."):
            return tuple(path), rest
        rest = rest[1:]


def _word(text: str, word: str) -> tuple[Path, str, str]:
    """Path, sign and value of a word; without sign and value where any value will do."""
    if not text:
        raise InputError(f"--filter {word}: no key", _EXAMPLES)
    if _NOT_EQUAL.match(text):
        raise InputError(f"--filter {word}: != is no sign here", "Write ! before the word, as in !lang=en.")
    if _BLANKS.match(text):
        raise InputError(f"--filter {word}: a blank beside the sign", 'Write year>=1990; quote a key such as "year ".')
    path, rest = _read_path(text, stops="=<>")
    sign = next((sign for sign in (*_SIGNS, "=") if rest.startswith(sign)), "")
    value = rest.removeprefix(sign)
    if rest and not (sign and value):
        raise InputError(f"--filter {word}: no value after {rest!r}", _EXAMPLES)
    return path, sign, value


def _condition(path: Path, sign: str, value: str) -> Condition:
    if not sign:
        return Exists(path)
    if sign == "=":
        return AnyOf(path, (value,))
    bounds: dict[Bound, Scalar] = {_SIGNS[sign]: value}
    return Range(path, **bounds)


def _values(key: str, given: Any) -> tuple[Scalar, ...]:  # noqa: ANN401 - any JSON value
    several = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    if not several:
        raise InputError(f"filter by {key!r}: an empty list allows no value", 'Leave the key out, or ask for "not".')
    return tuple(_scalar(key, value) for value in several)


def _bounds(key: str, given: Mapping[str, Any]) -> dict[Bound, Scalar]:
    unknown = [name for name in given if name not in BOUNDS]
    if unknown or not given:
        found = f"no bound {unknown[0]!r}; {nearest(str(unknown[0]), [*BOUNDS, 'exists'])}" if unknown else "no bound"
        within = f"{key}.{unknown[0] if unknown else 'KEY'}"
        raise InputError(
            f"filter by {key!r}: {found}", f"A value within an object is asked for by its path, {within!r}."
        )
    return {name: _scalar(key, given[name]) for name in BOUNDS if name in given}


def _scalar(key: str, value: object) -> Scalar:
    """A value of a filter: a string, a finite number, a boolean; of Python, also what metadata writes as one."""
    if value is None:
        problem = f"filter by {key!r}: a value is null"
        raise InputError(problem, 'Write {"exists": false} for documents without a value.')
    if value == "":
        problem = f"filter by {key!r}: a value is empty"
        raise InputError(problem, 'Empty texts are not kept: write {"exists": false}.')
    if isinstance(value, str) and not valid_unicode(value):
        problem = f"filter by {key!r}: the value {value!r} is not valid Unicode"
        raise InputError(problem, "Remove the lone surrogates.")
    try:
        written = metadata_value(value, (key,))
    except BadMetadata as error:
        raise InputError(f"filter by {key!r}: {error}", f"A filter is JSON such as {_SHOWN}.") from None
    if not isinstance(written, str | int | float):
        problem = f"filter by {key!r}: {_shown(value)} is no string, finite number or boolean"
        raise InputError(problem, f"A filter is JSON such as {_SHOWN}.")
    return written


def _shown(value: object) -> str:
    return f"{value!r:.50}"
