"""A catalogue read whole: what is resolved, what is rejected, and where it was read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.capabilities.catalogue import Catalogue
from data.capabilities.ingest import ingest_catalogue
from data.capabilities.traces import Traces
from data.errors import InputError
from data.partitions import read_table
from data.sources.catalogue_source import CatalogueSource
from data.sources.landing import CATALOGUE_SCHEMAS, land
from data.spread import Here

Records = Sequence[dict[str, Any]]
TOOLS = [{"id": "flights", "description": "Finds flights."}, {"id": "hotels"}, {"id": "orphan"}]
CAPABILITIES = [
    {"id": "travel", "description": "Plans a trip.", "tools": ["flights", "hotels"], "parent": "leisure"},
    {"id": "fly", "description": "Books a flight.", "tools": ["flights"], "parent": "leisure", "tier": 2},
    {"id": "leisure", "description": "Free time.", "tools": []},
]
TRACES: Records = [
    {"id": "1", "intent": "To Rome", "chosen": "fly", "outcome": "success", "shown": ["fly", "travel"]},
    {"id": "2", "intent": "to  rome", "chosen": "travel", "outcome": "failure", "context": ["hotels", "gone"]},
    {"id": "3", "intent": "a room", "chosen": "travel", "rating": 0.25, "session": "s", "time": 1_700_000_000},
]


def source_of(folder: Path, strict: bool = False, **tables: Records) -> CatalogueSource:
    keys: dict[str, Any] = {"strict": strict}
    for name, records in tables.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        keys[name] = {"path": str(path)}
    return CatalogueSource.model_validate(keys)


def read(folder: Path, **tables: Records) -> tuple[dict[str, Any], list[dict[str, Any]], Path]:
    """What reading says, the rejects, and the folder."""
    out = folder / "out"
    result = ingest_catalogue(source_of(folder, **tables), out, Here())
    return result, read_table(out / "rejects").to_pylist(), out


def test_tables_become_arrays(tmp_path: Path) -> None:
    result, rejects, out = read(tmp_path, tools=TOOLS, capabilities=CAPABILITIES, traces=TRACES)
    assert not rejects
    counts = ("tools", "capabilities", "groups", "traces", "without_outcome", "without_propensities", "unknown_context")
    assert [result[name] for name in counts] == [3, 3, 1, 3, 0, 3, 1]
    catalogue = Catalogue.open(out)
    assert catalogue.capabilities == ["travel", "fly", "leisure"]
    assert catalogue.texts[0] == "Plans a trip.\n\nflights\nFinds flights.\n\nhotels"
    assert catalogue.texts[1] == "Books a flight."
    assert catalogue.metadata == [None, '{"tier":2}', None]
    assert (catalogue.indptr.tolist(), catalogue.members.tolist()) == ([0, 2, 3, 3], [0, 1, 0])
    assert (catalogue.parent.tolist(), catalogue.can_run.tolist()) == ([2, 2, -1], [True, True, False])
    traces = Traces.open(out, catalogue)
    assert (traces.intents, traces.intent.tolist()) == (["To Rome", "a room"], [0, 0, 1])
    assert (traces.chosen.tolist(), traces.reward.tolist()) == ([1, 0, 0], [1.0, 0.0, 0.25])
    assert (traces.session.tolist(), traces.time.tolist()) == ([-1, -1, 0], [-1, -1, 1_700_000_000_000_000])
    assert traces.shown[0].tolist() == [1, 0]
    assert traces.context[1].tolist() == [1, -1]
    assert np.isnan(traces.propensities[0]).all()
    assert traces.take(np.array([2, 0])).shown[1].tolist() == [1, 0]


def test_intents_are_counted_as_they_are_learned_from(tmp_path: Path) -> None:
    result, _, out = read(tmp_path, tools=TOOLS, capabilities=CAPABILITIES, traces=TRACES)
    assert result["intents"] == len(Traces.open(out, Catalogue.open(out)).intents) == 2


def test_the_graph_joins_tools_capabilities_and_groups(tmp_path: Path) -> None:
    _, _, out = read(tmp_path, tools=TOOLS, capabilities=CAPABILITIES)
    graph = Catalogue.open(out).graph()
    assert graph.num_nodes == 6
    assert graph.degrees.tolist() == [2, 1, 0, 3, 2, 2]


def test_without_capabilities_each_tool_is_one(tmp_path: Path) -> None:
    _, _, out = read(tmp_path, tools=TOOLS)
    catalogue = Catalogue.open(out)
    assert catalogue.capabilities == ["flights", "hotels", "orphan"]
    assert catalogue.texts[0] == "flights\nFinds flights."


@pytest.mark.parametrize(
    ("capability", "reason"),
    [
        ({"id": "empty", "tools": []}, "no tools, and it is no group: 'empty'"),
        ({"id": "odd", "tools": ["flights", "gone"]}, "tools that are unknown: ['flights', 'gone']"),
        ({"id": "lost", "tools": ["flights"], "parent": "gone"}, "parent that is unknown: 'gone'"),
        ({"id": "fly", "tools": ["hotels"]}, "duplicate id: 'fly'"),
    ],
)
def test_a_capability_that_does_not_resolve_is_rejected(
    capability: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    result, rejects, _ = read(tmp_path, tools=TOOLS, capabilities=[*CAPABILITIES, capability])
    assert [(row["reason"], row["place"]) for row in rejects] == [(reason, "line 4")]
    assert (result["capabilities"], result["rejects"]) == (3, 1)


def test_capabilities_that_contain_each_other_are_rejected(tmp_path: Path) -> None:
    around = [{"id": name, "tools": ["hotels"], "parent": other} for name, other in ("ab", "bc", "ca", "da")]
    _, rejects, out = read(tmp_path, tools=TOOLS, capabilities=[*CAPABILITIES, *around])
    assert [row["reason"] for row in rejects] == [f"it contains itself by its parents: {name!r}" for name in "abcd"]
    assert Catalogue.open(out).capabilities == ["travel", "fly", "leisure"]


def test_a_group_whose_members_are_rejected_goes_with_them(tmp_path: Path) -> None:
    nested = [{"id": "outer", "tools": []}, {"id": "inner", "tools": [], "parent": "outer"}]
    _, rejects, _ = read(tmp_path, tools=TOOLS, capabilities=[*CAPABILITIES, *nested])
    assert {row["reason"] for row in rejects} == {f"no tools, and it is no group: {n!r}" for n in ("outer", "inner")}


def test_the_same_trace_twice_and_unknown_choices_are_rejected(tmp_path: Path) -> None:
    more = [*TRACES, TRACES[0], {"id": "9", "intent": "x", "chosen": "gone"}, {"id": "8", "intent": "x"}]
    result, rejects, _ = read(tmp_path, tools=TOOLS, capabilities=CAPABILITIES, traces=more)
    assert [(row["place"], row["reason"]) for row in rejects] == [
        ("line 6", "'chosen' is missing"),
        ("line 4", "duplicate id: '1'"),
        ("line 5", "choice that is unknown: 'gone'"),
    ]
    assert result["traces"] == 3


def test_strict_stops_at_a_trace_that_does_not_resolve(tmp_path: Path) -> None:
    source = source_of(tmp_path, True, tools=TOOLS, traces=[{"id": "9", "intent": "x", "chosen": "gone"}])
    with pytest.raises(InputError, match=r"traces\.jsonl, line 1: choice that is unknown: 'gone'"):
        ingest_catalogue(source, tmp_path / "out", Here())


def test_strict_sees_what_an_interrupted_run_that_was_not_has_rejected(tmp_path: Path) -> None:
    source = source_of(tmp_path, tools=[*TOOLS, {"id": " "}])
    land(source.tasks()[0], 0, tmp_path / "out" / "landed", False, CATALOGUE_SCHEMAS)
    with pytest.raises(InputError, match=r"tools\.jsonl, line 4: 'id' is empty"):
        ingest_catalogue(source.model_copy(update={"strict": True}), tmp_path / "out", Here())
    assert ingest_catalogue(source, tmp_path / "out", Here())["rejects"] == 1


def test_a_catalogue_without_a_capability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no tool in \S*tools.jsonl; the first reject: .*tools.jsonl, line 1: 'id' is empty"
    ):
        read(tmp_path, tools=[{"id": " "}])


def test_an_empty_file_of_tools_is_named_whatever_else_is_rejected(tmp_path: Path) -> None:
    around = [{"id": "loop", "tools": ["loop"]}, *CAPABILITIES]
    with pytest.raises(InputError, match="no tool in") as refused:
        read(tmp_path, tools=[], capabilities=around)
    assert refused.value.problem == f"catalogue: no tool in {tmp_path / 'tools.jsonl'}"


def test_capabilities_that_are_all_rejected_leave_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no capability; the first reject: .*capabilities\.jsonl, line 1"):
        read(tmp_path, tools=TOOLS, capabilities=[{"id": "odd", "tools": ["gone"]}])


def test_a_folder_in_beirs_layout_is_a_catalogue(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    documents = [{"_id": name, "title": name, "text": f"Does {name}."} for name in "ab"]
    queries = [{"_id": f"q{number}", "text": f"ask {number}"} for number in range(3)]
    for name, records in (("corpus", documents), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\ta\t1\nq1\ta\t1\nq1\tb\t1\nq2\tb\t0\n")
    found = {}
    for several in ("apart", "together"):
        source = CatalogueSource.model_validate({"beir": {"folder": str(tmp_path), "several": several}})
        out = tmp_path / several
        ingest_catalogue(source, out, Here())
        catalogue = Catalogue.open(out)
        traces = Traces.open(out, catalogue)
        pairs = zip(traces.intent, traces.chosen, strict=True)
        found[several] = [(traces.intents[intent], catalogue.capabilities[chosen]) for intent, chosen in pairs]
    assert found == {
        "apart": [("ask 0", "a"), ("ask 1", "a"), ("ask 1", "b")],
        "together": [("ask 0", "a"), ("ask 1", "a + b")],
    }
