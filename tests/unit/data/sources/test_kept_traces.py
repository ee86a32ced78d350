"""Traces of a service's journals: late and repeated feedback, unknown requests, rules for what ran."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from data.capabilities.catalogue import Catalogue
from data.capabilities.ingest import ingest_catalogue
from data.capabilities.traces import Traces
from data.errors import InputError
from data.journals import SUFFIX, sizes_of
from data.partitions import read_table
from data.sources.catalogue_source import CatalogueSource
from data.sources.kept_traces import kept_traces
from data.sources.rows import Reject, Skipped, Trace
from data.spread import here

Record = dict[str, Any]


def ranked(id_: str, **given: object) -> Record:
    return {
        "kind": "ranked",
        "request_id": id_,
        "time": 1000.5,
        "release": "r",
        "intent": f"intent of {id_}",
        "context": ["t1"],
        "items": ["a", "b", "c"],
        "scores": [0.9, 0.5, 0.1],
        "propensities": [0.8, 0.1, 0.1],
        "explore": "epsilon",
        "model_version": "v1",
    } | given


def event(id_: str, action: str, **given: object) -> Record:
    nothing = {
        "item": None,
        "value": None,
        "session": None,
        "tool": None,
        "step": None,
        "seconds": None,
        "time": 2000.0,
    }
    return {"kind": "feedback", "request_id": id_, "action": action, **nothing} | given


def write(folder: Path, name: str, records: Sequence[Mapping[str, Any]], torn: bytes = b"") -> None:
    folder.mkdir(exist_ok=True)
    lines = b"".join(orjson.dumps(dict(record)) + b"\n" for record in records)
    (folder / f"{name}{SUFFIX}").write_bytes(lines + torn)


def rows_of(folder: Path, *records: Mapping[str, Any]) -> list[Trace | Reject | Skipped]:
    write(folder, "one", records)
    (task,) = kept_traces(folder)
    return [row for _, row in task.read()]  # type: ignore[misc]  # of these kinds


def trace_of(folder: Path, *records: Mapping[str, Any]) -> Trace:
    (row,) = rows_of(folder, *records)
    assert isinstance(row, Trace), row
    return row


def test_a_ranking_and_what_became_of_it_are_a_trace(tmp_path: Path) -> None:
    trace = trace_of(
        tmp_path,
        event("r1", "chosen", item="b", session="s"),  # written before, by another replica
        ranked("r1"),
        event("r1", "failed", tool="t2", step=2),
        event("r1", "succeeded", tool="t1", step=1),
        event("r1", "partly", seconds=1.5),
        event("r1", "rated", value=0.75),
    )
    assert trace._asdict() == {
        "id": "r1",
        "time": trace.time,
        "session": "s",
        "intent": "intent of r1",
        "context": ["t1"],
        "shown": ["a", "b", "c"],
        "scores": [0.9, 0.5, 0.1],
        "propensities": [0.8, 0.1, 0.1],
        "chosen": "b",
        "steps": [{"tool": "t1", "outcome": "success"}, {"tool": "t2", "outcome": "failure"}],
        "outcome": "partial",
        "seconds": 1.5,
        "rating": 0.75,
        "model_version": "v1",
        "passed_over": True,
    }
    assert trace.time is not None and trace.time.timestamp() == 1000.5


def test_repeated_feedback_counts_once_and_of_two_the_later_one(tmp_path: Path) -> None:
    told = [event("r1", "chosen", item="b"), event("r1", "succeeded"), event("r1", "failed", tool="t1", step=1)]
    once, again = trace_of(tmp_path, ranked("r1"), *told), trace_of(tmp_path, ranked("r1"), *told, *told)
    assert once == again and len(once.steps) == 1
    changed = trace_of(tmp_path, event("r1", "failed", time=3000.0), ranked("r1"), *told)
    assert (changed.outcome, changed.chosen) == ("failure", "b")


@pytest.mark.parametrize(
    ("told", "chosen"),
    [
        ([event("r1", "clicked", item="c")], "c"),
        ([event("r1", "clicked", item="c"), event("r1", "chosen", item="b"), event("r1", "clicked", item="c")], "b"),
        ([event("r1", "failed", item="c")], "c"),
        ([event("r1", "succeeded")], "a"),
        ([event("r1", "succeeded", tool="t1")], "a"),
        ([event("r1", "rated", value=1.0)], "a"),
    ],
)
def test_what_ran_is_what_was_chosen_else_what_came_first(tmp_path: Path, told: list[Record], chosen: str) -> None:
    assert trace_of(tmp_path, ranked("r1"), *told).chosen == chosen


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ([], Skipped),
        ([event("r1", "shown", item="a")], Skipped),
        ([event("r1", "chosen", item="z")], Reject),
        ([event("r1", "rated", value=7.0)], Reject),
    ],
)
def test_what_makes_no_trace(tmp_path: Path, told: list[Record], kind: type) -> None:
    (row,) = rows_of(tmp_path, ranked("r1"), *told)
    assert isinstance(row, kind), row


def test_feedback_for_an_unknown_request_is_rejected_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, "one", [ranked("r1"), event("r9", "chosen", item="a"), event("r1", "succeeded")])
    (task,) = kept_traces(tmp_path)
    rejects = [(position, row) for position, row in task.read() if isinstance(row, Reject)]
    ((position, row),) = rejects
    assert position == 2 and "ranked nothing" in row.reason and "r9" in row.content and task.unit == "record"


def test_feedback_on_a_search_is_neither_a_trace_nor_a_reject(tmp_path: Path) -> None:
    served = {
        "kind": "served",
        "request_id": "s1",
        "time": 1.0,
        "query": "q",
        "mode": "bm25",
        "items": [],
        "scores": [],
    }
    (row,) = rows_of(tmp_path, served, event("s1", "clicked", item="d"))
    assert row == Skipped("feedback on searches")


def test_the_end_of_a_line_that_a_kill_left_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, "one", [ranked("r1"), event("r1", "succeeded")], torn=b'{"kind": "feedb')
    (task,) = kept_traces(tmp_path)
    assert Counter(type(row) for _, row in task.read()) == {Trace: 1, Skipped: 1}


def test_an_order_that_was_not_drawn_has_no_propensities(tmp_path: Path) -> None:
    assert trace_of(tmp_path, ranked("r1", propensities=[1.0, 0.0, 0.0]), event("r1", "succeeded")).propensities is None


@pytest.mark.parametrize(("chosen", "over"), [("a", False), ("b", True)])
def test_whether_what_was_put_first_was_passed_over_is_kept(tmp_path: Path, chosen: str, over: bool) -> None:
    trace = trace_of(tmp_path, ranked("r1"), event("r1", "succeeded", item=chosen))
    assert (trace.chosen, trace.passed_over) == (chosen, over)


def test_an_order_that_was_not_drawn_passes_nothing_over(tmp_path: Path) -> None:
    rows = ranked("r1", propensities=[1.0, 0.0, 0.0]), event("r1", "succeeded", item="b")
    assert trace_of(tmp_path, *rows).passed_over is False


def test_a_request_that_was_asked_again_is_the_later_one(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, ranked("r1"), ranked("r1", items=["b", "a", "c"]), event("r1", "succeeded"))
    traces = [row for row in rows if isinstance(row, Trace)]
    assert [trace.chosen for trace in traces] == ["b"] and len(rows) == 2


def test_only_so_much_is_read_as_was_there(tmp_path: Path) -> None:
    write(tmp_path, "one", [ranked("r1"), event("r1", "succeeded")])
    sizes = sizes_of(tmp_path)
    write(tmp_path, "one", [ranked("r1"), event("r1", "succeeded"), ranked("r2"), event("r2", "failed")])
    write(tmp_path, "two", [event("r1", "failed", time=9e9)])
    (task,) = kept_traces(tmp_path, sizes)
    (trace,) = [row for _, row in task.read() if isinstance(row, Trace)]
    assert (trace.id, trace.outcome) == ("r1", "success")
    assert kept_traces(tmp_path, {}) == [] and kept_traces(tmp_path / "none") == []


def catalogue_of(folder: Path, **given: object) -> CatalogueSource:
    tools = [{"id": id_, "name": id_, "description": f"what {id_} does"} for id_ in ("a", "b", "c")]
    (folder / "tools.jsonl").write_bytes(b"\n".join(orjson.dumps(tool) for tool in tools))
    return CatalogueSource.model_validate({"tools": {"path": str(folder / "tools.jsonl")}, **given})


def test_kept_traces_are_ingested_with_a_catalogue(tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    write(journals, "one", [ranked("r1"), ranked("r2"), ranked("r3", items=["gone"]), event("r3", "succeeded")])
    write(journals, "two", [event("r1", "chosen", item="b"), event("r1", "failed"), event("r7", "failed")])
    out = tmp_path / "out"
    result = ingest_catalogue(catalogue_of(tmp_path), out, here, kept_traces(journals))
    assert (result["traces"], result["rejects"]) == (1, 2)  # the choice of r3 is no capability any more
    catalogue = Catalogue.open(out)
    traces = Traces.open(out, catalogue)
    assert catalogue.capabilities[traces.chosen[0]] == "b" and traces.reward.tolist() == [0.0]
    assert traces.propensities[0].tolist() == [0.8, 0.1, 0.1]
    places = {row["reason"][:8]: (row["source"], row["place"]) for row in read_table(out / "rejects").to_pylist()}
    assert places["feedback"] == (str(journals), "record 7")


def test_a_strict_catalogue_refuses_feedback_for_an_unknown_request(tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    write(journals, "one", [event("r7", "failed")])
    with pytest.raises(InputError, match="ranked nothing"):
        ingest_catalogue(catalogue_of(tmp_path, strict=True), tmp_path / "out", here, kept_traces(journals))
