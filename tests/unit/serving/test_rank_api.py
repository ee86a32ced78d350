"""The route that ranks capabilities, over HTTP: its answers, who may ask, and the journal that becomes traces."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from data.interactions import join_interactions
from data.journals import read_journals
from data.sources.kept_traces import kept_traces
from data.sources.rows import Reject, Trace
from serving.keys import KeyRing, Scope, create_key
from tests.unit.serving.capability_rankers import ids_of, service_of
from tests.unit.serving.whole_application import whole_application

BOOK = {"intent": "book a table"}
SCOPES: tuple[Scope, ...] = ("search", "embed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def test_a_ranking_its_feedback_and_the_trace_that_they_become(folder: Path) -> None:
    api = whole_application(folder, capabilities=service_of(explore="thompson"))
    with TestClient(api) as client:
        answer = client.post("/v1/rank", json={**BOOK, "top_k": 3}, headers={"x-request-id": "mine-1"})
        client.post("/v1/rank", json=BOOK)
        body = answer.json()
        assert answer.status_code == 200 and body["request_id"] == "mine-1" == answer.headers["x-request-id"]
        assert {"encode", "rank", "total"} <= {
            part.split(";")[0] for part in answer.headers["server-timing"].split(", ")
        }
        shown = ids_of(body)
        events = [
            {"request_id": "mine-1", "action": "chosen", "item": shown[1]},
            {"request_id": "mine-1", "action": "failed", "tool": "t1", "step": 1},
            {"request_id": "mine-1", "action": "failed", "seconds": 0.5},
            {"request_id": "unknown", "action": "failed"},
        ]
        for _ in range(2):  # the caller did not hear of the first 202
            assert client.post("/v1/feedback", json={"events": events}).json() == {"accepted": 4}
    api.state.index.close()
    rows = [row for task in kept_traces(folder / "journals") for _, row in task.read()]
    (trace,) = [row for row in rows if isinstance(row, Trace)]
    assert (trace.id, trace.intent, list(trace.shown), trace.chosen) == ("mine-1", BOOK["intent"], shown, shown[1])
    assert trace.propensities == [one["propensity"] for one in body["results"]]
    assert sum(trace.propensities) == pytest.approx(1.0)
    assert (trace.outcome, trace.seconds, trace.steps, trace.model_version) == (
        "failure",
        0.5,
        [{"tool": "t1", "outcome": "failure"}],
        "v1",
    )
    assert sum(isinstance(row, Reject) for row in rows) == 1
    joined = join_interactions(record for _, record in read_journals(folder / "journals"))
    assert [row["request_id"] for row in joined.table.to_pylist()] == ["unknown"]  # rankings are no searches


def test_without_a_ranker_the_answer_is_a_404_that_names_the_command(folder: Path) -> None:
    api = whole_application(folder)
    with TestClient(api) as client:
        answer = client.post("/v1/rank", json=BOOK)
        assert answer.status_code == 404 and "catena learn" in answer.json()["error"]["message"]
    api.state.index.close()


def test_a_key_needs_the_scope_of_search(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {scope: create_key(file, "x", [scope])[1] for scope in SCOPES}
    api = whole_application(folder, ring=KeyRing(file), capabilities=service_of())
    with TestClient(api) as client:
        statuses = {
            scope: client.post("/v1/rank", json=BOOK, headers={"authorization": f"Bearer {key}"}).status_code
            for scope, key in keys.items()
        }
        assert statuses == {"search": 200, "embed": 403} and client.post("/v1/rank", json=BOOK).status_code == 401
    api.state.index.close()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"action": "chosen", "tool": "t1"}, "of a step"),
        ({"action": "failed", "step": 1}, "names no tool"),
        ({"action": "failed", "seconds": -1}, "greater than or equal"),
    ],
)
def test_an_event_that_is_no_step_is_refused(folder: Path, event: dict[str, object], said: str) -> None:
    api = whole_application(folder)
    with TestClient(api) as client:
        answer = client.post("/v1/feedback", json={"events": [{"request_id": "r", **event}]})
        assert answer.status_code == 422 and said in answer.json()["error"]["message"]
    api.state.index.close()
