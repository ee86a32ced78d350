"""Rankings that were served and what became of them, as a table."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

INTERACTIONS = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC")),  # of the answer; null where only feedback is known
        pa.field("session", pa.string()),
        pa.field("query", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("items", pa.list_(pa.string())),  # as shown, best first
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("chosen", pa.list_(pa.string())),  # items that were clicked or chosen, in the order of the events
        pa.field("outcome", pa.string()),  # the last of succeeded, partly and failed
        pa.field("reward", pa.float32()),  # the last value that was given
        pa.field("events", pa.int32(), nullable=False),
    ]
)

_IDENTITY = ("request_id", "action", "item", "value", "session", "tool", "step", "seconds")
_CHOICES, _OUTCOMES = ("clicked", "chosen"), ("succeeded", "partly", "failed")


class Joined(NamedTuple):
    """Interactions, and how many records were none."""

    table: pa.Table
    rejected: int


def join_interactions(records: Iterable[Mapping[str, Any] | None]) -> Joined:
    """One row for each request that was answered or that feedback names, in the order in which they are met.

    An event that was written twice (its caller did not hear of the 202 and asked again) counts once.

    Args:
        records: of journals, ``served`` and ``feedback`` of any order, and ``ranked``, whose capabilities become
            traces and no rows of this table; None for a line that is none.
    """
    rows: dict[str, dict[str, Any]] = {}
    events: list[Mapping[str, Any]] = []
    ranked: set[str] = set()
    rejected = 0
    for record in records:
        if record is not None and record.get("kind") == "ranked":
            ranked.add(record["request_id"])
            continue
        if record is None or record.get("kind") not in ("served", "feedback"):
            rejected += 1
            continue
        id_ = record["request_id"]
        row = rows.setdefault(id_, {"request_id": id_, "events": 0, "chosen": []})
        if record["kind"] == "feedback":
            events.append(record)
        else:
            row |= {name: record[name] for name in ("query", "mode", "items", "scores")}
            row["time"] = round(record["time"] * 1e6)
    rows = {id_: row for id_, row in rows.items() if id_ not in ranked}
    events = [event for event in events if event["request_id"] in rows]
    _add_events(rows, sorted(events, key=lambda event: float(event["time"])))
    return Joined(pa.Table.from_pylist(list(rows.values()), INTERACTIONS), rejected)


def _add_events(rows: Mapping[str, dict[str, Any]], events: Iterable[Mapping[str, Any]]) -> None:
    """Events in the order of their times: the last one decides, and one that came before counts no second time."""
    seen: set[tuple[object, ...]] = set()
    for event in events:
        row = rows[event["request_id"]]
        if event["action"] in _OUTCOMES and event.get("tool") is None:
            row["outcome"] = event["action"]
        if event["value"] is not None:
            row["reward"] = event["value"]
        row["session"] = event["session"] or row.get("session")
        identity = tuple(event.get(name) for name in _IDENTITY)
        if identity in seen:
            continue
        seen.add(identity)
        row["events"] += 1
        if event["action"] in _CHOICES and event["item"] is not None:
            row["chosen"].append(event["item"])
