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

_CHOICES, _OUTCOMES = ("clicked", "chosen"), ("succeeded", "partly", "failed")


class Joined(NamedTuple):
    """Interactions, and how many records were none."""

    table: pa.Table
    rejected: int


def join_interactions(records: Iterable[Mapping[str, Any] | None]) -> Joined:
    """One row for each request that was answered or that feedback names, in the order in which they are met.

    A record that was written twice (a caller that did not hear of its 202 and asked again) counts once.

    Args:
        records: of journals, ``served`` and ``feedback`` of any order; None for a line that is none.
    """
    rows: dict[str, dict[str, Any]] = {}
    seen: set[tuple[object, ...]] = set()
    rejected = 0
    for record in records:
        if record is None or record.get("kind") not in ("served", "feedback"):
            rejected += 1
            continue
        row = rows.setdefault(record["request_id"], {"request_id": record["request_id"], "events": 0, "chosen": []})
        if record["kind"] == "served":
            row |= {"time": round(record["time"] * 1e6), **{name: record[name] for name in ("query", "mode", "items")}}
            row["scores"] = record["scores"]
            continue
        event = tuple(record[name] for name in ("request_id", "action", "item", "value", "session"))
        if event in seen:
            continue
        seen.add(event)
        row["events"] += 1
        row["session"] = record["session"] or row.get("session")
        if record["action"] in _CHOICES and record["item"] is not None:
            row["chosen"].append(record["item"])
        if record["action"] in _OUTCOMES:
            row["outcome"] = record["action"]
        if record["value"] is not None:
            row["reward"] = record["value"]
    return Joined(pa.Table.from_pylist(list(rows.values()), INTERACTIONS), rejected)
