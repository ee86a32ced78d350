"""Files of a catalogue: tools, the capabilities that use them, and traces of what was run.

Lists (the tools of a capability, what a trace shows) are lists in JSON Lines and Parquet. In CSV and TSV, which have
none, they are JSON, or names with ``|`` between them.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field, model_validator

from data.metadata import write_metadata
from data.missing import is_missing
from data.schema import OUTCOMES
from data.sources import cells
from data.sources.fields import BadField, cell_of, id_of, metadata_of, text_of, time_of
from data.sources.files import TableFiles
from data.sources.lines import Record
from data.sources.lists import Shown, ids_of, list_of, schema_of
from data.sources.rows import Capability, Tool, Trace

SETTINGS = ("rating_range", "propensities_of")  # of traces: fields that name no column
CLOCKS_APART = timedelta(minutes=5)  # a trace may come from a machine whose clock is fast by so much


class ToolFiles(TableFiles):
    """Files of tools."""

    id: str = Field("id", description="column of the identity")
    name: str = Field("name", description="column of the name; the identity where it is absent")
    description: str = Field("description", description="column of what it does")
    input: str = Field("schema", description="column of the JSON Schema of its input; may be absent")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Identity, and what the run file names."""
        return [self.id, *self.named("name", "description", "input")]

    def columns(self) -> list[str] | None:
        """All of them: those that may be absent are read where they are there."""
        return None

    def build(self, record: Record) -> Tool:
        """A tool of a record: a name or a description is enough."""
        id_ = id_of(record, self.id)
        name = text_of(record, self.name, id_)
        return Tool(id_, name, text_of(record, self.description, ""), schema_of(record, self.input))


class CapabilityFiles(TableFiles):
    """Files of capabilities; further columns are metadata, for filters."""

    id: str = Field("id", description="column of the identity")
    description: str = Field("description", description="column of what it solves; those of its tools where empty")
    tools: str = Field("tools", description="column of the list of ids of its tools")
    parent: str = Field("parent", description="column of the group that it is one of, a capability; may be absent")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Identity, and what the run file names."""
        return [self.id, *self.named("description", "tools", "parent")]

    def columns(self) -> list[str] | None:
        """All of them: what is not named is metadata."""
        return None

    def build(self, record: Record) -> Capability:
        """A capability of a record; one without tools is a group, if others name it."""
        id_ = id_of(record, self.id)
        tools = tuple(dict.fromkeys(ids_of(record, self.tools)))
        parent = text_of(record, self.parent, "") or None
        if id_ in tools:
            raise BadField(f"its id is that of a tool that it uses: {cells.shortened(id_)}")
        if id_ == parent:
            raise BadField(f"the capability contains itself: {cells.shortened(id_)}")
        used = (self.id, self.description, self.tools, self.parent)
        metadata = metadata_of(record, [field for field in record if field not in used])
        return Capability(id_, text_of(record, self.description, ""), tools, parent, write_metadata(metadata))


class TraceFiles(TableFiles):
    """Files of traces. What was shown is a list of ids, best first, or of objects with id, rank, score, propensity."""

    id: str = Field("id", description="column of the identity")
    time: str = Field("time", description="column of the time: ISO 8601, or seconds since 1970; may be absent")
    session: str = Field("session", description="column of what puts traces together; may be absent")
    intent: str = Field("intent", description="column of what was asked")
    context: str = Field("context", description="column of tools that were at hand; may be absent")
    shown: str = Field("shown", description="column of the list of capabilities that were shown; may be absent")
    scores: str = Field("scores", description="column of the list of their scores; may be absent")
    propensities: str = Field(
        "propensities", description="column of the list of their probabilities, as propensities_of says; may be absent"
    )
    propensities_of: Literal["chosen", "first"] = Field(
        "chosen",
        description="what propensities are the probabilities of: to be the one that runs, or to be put first in what "
        "is shown; then another one may have run, which the log knows no probability of",
    )
    chosen: str = Field("chosen", description="column of the capability that was run")
    steps: str = Field("steps", description="column of the list of steps, objects of tool and outcome; may be absent")
    outcome: str = Field("outcome", description="column of success, partial or failure; may be absent")
    seconds: str = Field("seconds", description="column of how long it ran; may be absent")
    rating: str = Field("rating", description="column of a rating; may be absent")
    model_version: str = Field("model_version", description="column of the model that ranked; may be absent")
    rating_range: tuple[float, float] = Field((0.0, 1.0), description="worst and best rating; kept as 0 to 1")

    @model_validator(mode="after")
    def _rises(self) -> "TraceFiles":
        if not self.rating_range[0] < self.rating_range[1]:
            raise ValueError(f"rating_range goes from the worst to the best, got {self.rating_range}")
        return self

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """Identity, intent, what was chosen, and what the run file names."""
        optional = [name for name in type(self).model_fields if name not in (*TableFiles.model_fields, *SETTINGS)]
        return list(dict.fromkeys([self.id, self.intent, self.chosen, *self.named(*optional)]))

    def columns(self) -> list[str] | None:
        """All of them: those that may be absent are read where they are there."""
        return None

    def build(self, record: Record) -> Trace:
        """A trace of a record.

        Raises:
            BadField: if the choice was not shown, a time is to come, or a propensity, a rating or an outcome is none.
        """
        shown = Shown.of(record, self.shown, self.scores, self.propensities)
        chosen = id_of(record, self.chosen)
        if shown.ids and chosen not in shown.ids:
            raise BadField(f"{self.chosen!r} was not shown: {cells.shortened(chosen)}")
        return Trace(
            id=id_of(record, self.id),
            time=_past(record, self.time),
            session=text_of(record, self.session, "") or None,
            intent=_not_blank(record, self.intent),
            context=ids_of(record, self.context),
            shown=shown.ids,
            scores=shown.scores,
            propensities=shown.propensities,
            chosen=chosen,
            steps=_steps(record, self.steps),
            outcome=_outcome(record.get(self.outcome), self.outcome),
            seconds=_seconds(record, self.seconds),
            rating=self._rating(record),
            model_version=text_of(record, self.model_version, "") or None,
            passed_over=self.propensities_of == "first" and bool(shown.propensities) and chosen != shown.ids[0],
        )

    def _rating(self, record: Record) -> float | None:
        low, high = self.rating_range
        found = cell_of(record, self.rating, cells.number)
        if found is not None and not low <= found <= high:
            raise BadField(f"{self.rating!r} is outside {low:g} to {high:g}: {found:g}")
        return None if found is None else (found - low) / (high - low)


def _steps(record: Record, field: str) -> list[dict[str, str]]:
    found = []
    for place, step in enumerate(list_of(record, field)):
        if not isinstance(step, Mapping):
            raise BadField(f"{field!r} [{place}] is not an object of tool and outcome")
        outcome = _outcome(step.get("outcome"), f"{field}[{place}].outcome")
        if outcome is None:
            raise BadField(f"{field!r} [{place}] has no outcome")
        found.append({"tool": id_of(dict(step), "tool"), "outcome": outcome})
    return found


def _outcome(value: object, field: str) -> str | None:
    if is_missing(value) or value == "":
        return None
    if not isinstance(value, str) or value not in OUTCOMES:
        raise BadField(f"{field!r} is none of {', '.join(OUTCOMES)}: {cells.shortened(value)}")
    return value


def _past(record: Record, field: str) -> datetime | None:
    found = time_of(record, field)
    if found is not None and found > datetime.now(UTC) + CLOCKS_APART:
        raise BadField(f"{field!r} is in the future: {found.isoformat()}")
    return found


def _seconds(record: Record, field: str) -> float | None:
    found = cell_of(record, field, cells.float32)
    if found is not None and found < 0:
        raise BadField(f"{field!r} is below 0: {found:g}")
    return found


def _not_blank(record: Record, field: str) -> str:
    text = text_of(record, field)
    if not text.strip():
        raise BadField(f"{field!r} is empty")
    return text
