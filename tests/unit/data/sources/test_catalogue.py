"""Records of tools, capabilities and traces: what they become, and why a bad one is rejected."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.sources.catalogue import CapabilityFiles, ToolFiles, TraceFiles
from data.sources.catalogue_source import CatalogueSource
from data.sources.fields import BadField
from data.sources.files import table_tasks
from data.sources.mcp import McpFiles
from data.sources.rows import Capability, Reject, Tool, Trace

TRACE = {"id": "t1", "intent": "book a flight", "chosen": "travel"}


def trace(**more: object) -> Trace:
    return TraceFiles(path="x").build({**TRACE, **more})


def test_a_tool_keeps_its_schema_as_json() -> None:
    tool = ToolFiles(path="x").build({"id": "a", "description": "Adds.", "schema": {"type": "object", "b": 1}})
    assert tool == Tool("a", "a", "Adds.", '{"b": 1, "type": "object"}')


@pytest.mark.parametrize("schema", ["{", "[1]", 7])
def test_a_schema_that_is_no_object_is_rejected(schema: object) -> None:
    with pytest.raises(BadField, match="'schema'"):
        ToolFiles(path="x").build({"id": "a", "schema": schema})


@pytest.mark.parametrize("tools", [["a", "b", "a"], '["a", "b"]', "a|b"])
def test_lists_are_lists_json_or_names_with_bars(tools: object) -> None:
    made = CapabilityFiles(path="x").build({"id": "c", "tools": tools, "team": "north"})
    assert made == Capability("c", "", ("a", "b"), None, '{"team":"north"}')


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"id": "c", "tools": ["a", "c"]}, "its id is that of a tool that it uses: 'c'"),
        ({"id": "c", "tools": ["a"], "parent": "c"}, "the capability contains itself: 'c'"),
    ],
)
def test_a_capability_that_contains_itself_is_rejected(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadField, match=reason):
        CapabilityFiles(path="x").build(record)


def test_what_was_shown_is_ordered_by_rank() -> None:
    shown = [{"id": "b", "rank": 2, "score": 0.5, "propensity": 0.1}, {"id": "travel", "rank": 1, "propensity": 0.9}]
    made = trace(shown=shown)
    assert (made.shown, made.propensities, made.scores) == (["travel", "b"], [0.9, 0.1], None)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"shown": ["b", "c"]}, "'chosen' was not shown: 'travel'"),
        ({"shown": ["travel", "travel"]}, "'shown' has a capability twice: 'travel'"),
        ({"shown": ["travel", "b"], "propensities": [1.0, 0.0]}, "'propensities' is not above 0: 0"),
        ({"shown": ["travel", "b"], "propensities": [1.2, 0.1]}, "'propensities' is outside 0 to 1: 1.2"),
        (
            {"shown": ["travel", "b"], "propensities": [0.9, 0.3]},
            "of what was shown sum to 1.2, not to 1",
        ),
        ({"shown": ["travel", "b"], "propensities": [1.0]}, "'propensities' has 1 values for 2 capabilities shown"),
        ({"time": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "'time' is in the future"),
        ({"rating": 1.5}, "'rating' is outside 0 to 1: 1.5"),
        ({"outcome": "great"}, "'outcome' is none of success, partial, failure: 'great'"),
        ({"seconds": -1}, "'seconds' is below 0: -1"),
        ({"intent": " "}, "'intent' is empty"),
        ({"steps": [{"tool": "a"}]}, "'steps' \\[0\\] has no outcome"),
        ({"steps": ["a"]}, "'steps' \\[0\\] is not an object"),
    ],
)
def test_a_bad_trace_is_rejected_with_its_reason(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadField, match=reason):
        trace(**more)


@pytest.mark.parametrize(("of", "over"), [("chosen", False), ("first", True)])
def test_propensities_are_of_what_was_chosen_or_of_what_was_put_first(of: str, over: bool) -> None:
    files = TraceFiles.model_validate({"path": "x", "propensities_of": of})
    shown = {"shown": ["b", "travel"], "propensities": [0.9, 0.1]}
    assert files.build({**TRACE, **shown}).passed_over is over
    assert files.build({**TRACE, "shown": ["b", "travel"]}).passed_over is False
    assert files.build(TRACE).passed_over is False and files.needed() == ["id", "intent", "chosen"]


def test_a_missing_propensity_leaves_the_trace_without_any() -> None:
    made = trace(shown=["travel", "b"], propensities=[0.9, None])
    assert (made.shown, made.propensities) == (["travel", "b"], None)


def test_ratings_are_kept_from_0_to_1() -> None:
    files = TraceFiles(path="x", rating_range=(1, 5))
    assert files.build({**TRACE, "rating": "4"}).rating == 0.75
    with pytest.raises(ValueError, match="from the worst to the best"):
        TraceFiles(path="x", rating_range=(5, 1))


def test_an_intent_in_another_script_is_a_trace() -> None:
    assert trace(intent="הזמן טיסה").intent == "הזמן טיסה"


def test_csv_files_have_lists_as_text(tmp_path: Path) -> None:
    path = tmp_path / "capabilities.csv"
    path.write_text("id,tools,parent\ntravel,flights|hotels,\nbad,bad,\n")
    (task,) = table_tasks("capabilities", CapabilityFiles(path=str(path)))
    (_, good), (place, bad) = task.read()
    assert good == Capability("travel", "", ("flights", "hotels"), None, None)
    assert isinstance(bad, Reject)
    assert (place, bad.reason) == (3, "its id is that of a tool that it uses: 'bad'")


ANSWER = {"tools": [{"name": "open", "title": "Open", "description": "Opens.", "inputSchema": {"type": "object"}}]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWER),
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": ANSWER}, indent=1),
        json.dumps([{"result": ANSWER}]),
        json.dumps({"result": ANSWER}) + "\n" + json.dumps({"result": {"tools": []}}) + "\n",
    ],
    ids=["result", "message", "pages", "lines"],
)
def test_answers_of_mcp_are_tools(text: str, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(text)
    (task,) = McpFiles(path=str(tmp_path / "answer.json"), server="files").tasks()
    assert [row for _, row in task.read()] == [Tool("files.open", "Open", "Opens.", '{"type": "object"}')]


@pytest.mark.parametrize(("answer", "told"), [({"error": {"code": 1}}, "with an error"), ({}, "no list of tools")])
def test_answers_of_mcp_without_tools_are_refused(answer: object, told: str, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    (task,) = McpFiles(path=str(tmp_path / "answer.json")).tasks()
    with pytest.raises(InputError, match=told):
        list(task.read())


def test_a_tool_of_mcp_without_a_name_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(json.dumps({"tools": [{"description": "Opens."}, "open"]}))
    (task,) = McpFiles(path=str(tmp_path / "answer.json")).tasks()
    reasons = [row.reason for _, row in task.read() if isinstance(row, Reject)]
    assert reasons == ["'name' is missing", "not an object: str"]


@pytest.mark.parametrize("keys", [{}, {"beir": {"folder": "x"}, "tools": {"path": "y"}}, {"traces": {"path": "y"}}])
def test_a_catalogue_has_tools_once(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give"):
        CatalogueSource.model_validate(keys)
