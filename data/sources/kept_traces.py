"""Traces that a service has kept: what it showed for an intent, joined with the feedback that named its request.

Feedback may come late, twice, and through another replica, so it is joined over all journals. An event that was written
twice counts once, and of two that contradict each other the later one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from data.journals import read_journals
from data.sources.rows import Reading, ReadTask, Reject, Skipped, Trace

Record = Mapping[str, Any]

OUTCOME = {"succeeded": "success", "partly": "partial", "failed": "failure"}
TELLS_CHOICE = ("chosen", "clicked")  # what says which one ran, the surest first
CONTENT = 500  # characters of a rejected record


def kept_traces(journals: Path, sizes: Mapping[str, int] | None = None) -> list[ReadTask]:
    """The task that reads them; none where nothing is kept.

    Args:
        journals: folder that a service writes.
        sizes: bytes of each file, by its name, that are read; all of them where None.
    """
    if (sizes is not None and not sizes) or not journals.is_dir():
        return []
    return [ReadTask(str(journals), "record", partial(_read, journals, sizes))]


def _read(journals: Path, sizes: Mapping[str, int] | None) -> Reading:
    ranked: dict[str, tuple[int, Record]] = {}
    events: dict[str, list[tuple[int, Record]]] = defaultdict(list)
    searched: set[str] = set()
    for position, (_, record) in enumerate(read_journals(journals, sizes), start=1):
        kind = None if record is None else record.get("kind")
        if record is None or kind not in ("ranked", "served", "feedback"):
            yield position, Skipped("lines of a journal that are no records")
        elif kind == "served":
            searched.add(record["request_id"])
        elif kind == "feedback":
            events[record["request_id"]].append((position, record))
        else:
            if record["request_id"] in ranked:  # asked again under the same id: the caller saw the later answer
                yield position, Skipped("rankings that were asked for again")
            ranked[record["request_id"]] = position, record
    for id_, (position, shown) in ranked.items():
        yield position, _trace(shown, _in_time(events.get(id_, ())))
    for id_, of_request in events.items():
        if id_ in searched:
            yield of_request[0][0], Skipped("feedback on searches")
        elif id_ not in ranked:
            yield from ((position, _unknown(event)) for position, event in _distinct(of_request))


def _distinct(events: Iterable[tuple[int, Record]]) -> list[tuple[int, Record]]:
    """Events without those that say the same as one before."""
    first: dict[str, tuple[int, Record]] = {}
    for position, event in events:
        first.setdefault(repr(sorted({**event, "time": None}.items())), (position, event))
    return list(first.values())


def _in_time(events: Iterable[tuple[int, Record]]) -> list[Record]:
    """Events by the time at which they came."""
    return [event for _, event in sorted(events, key=lambda one: float(one[1]["time"]))]


def _trace(ranked: Record, events: Sequence[Record]) -> Trace | Reject | Skipped:
    """What became of one ranking."""
    if not events:
        return Skipped("rankings without feedback")
    whole = [event for event in events if event.get("tool") is None]
    chosen = _chosen(ranked, events, whole)
    if chosen is None:
        return Skipped("rankings of which nothing is known to have run")
    if chosen not in ranked["items"]:
        return _reject(f"the choice was not shown: {chosen!r}", ranked)
    rating = _last(whole, "value", "rated")
    if rating is not None and not 0 <= rating <= 1:
        return _reject(f"the rating is outside 0 to 1: {rating:g}", ranked)
    # Without exploration all but the first have none: such an answer tells nothing of other orders.
    propensities = ranked["propensities"] if all(one > 0 for one in ranked["propensities"]) else None
    outcomes = [OUTCOME[event["action"]] for event in whole if event["action"] in OUTCOME]
    return Trace(
        id=ranked["request_id"],
        time=datetime.fromtimestamp(ranked["time"], UTC),
        session=next((event["session"] for event in reversed(events) if event["session"]), None),
        intent=ranked["intent"],
        context=ranked["context"],
        shown=ranked["items"],
        scores=ranked["scores"],
        propensities=propensities,
        chosen=chosen,
        steps=_steps(events),
        outcome=outcomes[-1] if outcomes else None,
        seconds=_last(whole, "seconds"),
        rating=rating,
        model_version=ranked["model_version"],
        passed_over=propensities is not None and chosen != ranked["items"][0],
    )


def _chosen(ranked: Record, events: Sequence[Record], whole: Sequence[Record]) -> str | None:
    """The capability that ran: the one that was chosen last, or clicked, or named by an outcome, else the first shown.

    The first shown one is taken where an outcome names none: a caller that runs the best need not say which that is.
    """
    for action in TELLS_CHOICE:
        named = [event["item"] for event in whole if event["action"] == action and event["item"]]
        if named:
            return str(named[-1])
    told = [event for event in events if event["action"] in (*OUTCOME, "rated")]
    named = [event["item"] for event in told if event["item"]]
    if named:
        return str(named[-1])
    return str(ranked["items"][0]) if told and ranked["items"] else None


def _steps(events: Iterable[Record]) -> list[dict[str, str]]:
    """Outcomes of tools: by the number of their step, then in the order in which they came."""
    steps: dict[tuple[int, str], dict[str, str]] = {}
    for event in events:
        if event.get("tool") is not None and event["action"] in OUTCOME:
            number = event.get("step")
            key = (number, "") if number is not None else (2**31, event["tool"])
            steps[key] = {"tool": event["tool"], "outcome": OUTCOME[event["action"]]}
    return [step for _, step in sorted(steps.items(), key=lambda one: one[0][0])]


def _last(events: Sequence[Record], field: str, action: str | None = None) -> float | None:
    """The last value of a field that was given, by events of one action where it is named."""
    given = [event.get(field) for event in events if action in (None, event["action"])]
    return next((float(value) for value in reversed(given) if value is not None), None)


def _unknown(event: Record) -> Reject:
    return _reject("feedback for a request that ranked nothing here", event)


def _reject(reason: str, record: Record) -> Reject:
    return Reject("traces", reason, str(dict(record))[:CONTENT])
