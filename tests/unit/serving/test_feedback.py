"""Feedback: on disk before it is acknowledged, whatever is killed then; joined with what was answered."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from data.interactions import join_interactions
from data.journals import SUFFIX, read_journals
from serving.api import feedback
from serving.api.errors import answer_errors
from serving.feedback import FeedbackService
from serving.journal import Journal
from serving.schemas import SearchRequest, SearchResponse

REPOSITORY = Path(__file__).resolve().parents[3]


def records(folder: Path) -> list[dict[str, object] | None]:
    return [record for _, record in read_journals(folder)]


def event(**given: object) -> dict[str, object]:
    return {
        "kind": "feedback",
        "request_id": "r",
        "action": "clicked",
        "item": None,
        "value": None,
        "session": None,
        "time": 0.0,
    } | given


def served(client: TestClient, *events: object) -> tuple[int, dict[str, object]]:
    answer = client.post("/v1/feedback", json={"events": list(events)})
    body: dict[str, object] = answer.json()
    return answer.status_code, body


def client_of(journal: Journal | None) -> TestClient:
    api = FastAPI()
    answer_errors(api)
    api.include_router(feedback.router(FeedbackService(journal)))
    return TestClient(api)


def test_what_is_acknowledged_is_in_the_file(tmp_path: Path) -> None:
    client = client_of(Journal(tmp_path))
    status, body = served(
        client,
        {"request_id": "r", "action": "clicked", "item": "d1"},
        {"request_id": "r", "action": "rated", "value": 0.5},
        {"request_id": "r", "action": "succeeded", "value": 3},  # a reward of a search has any range
    )
    assert (status, body) == (202, {"accepted": 3})
    kept = [{name: one[name] for name in ("request_id", "action", "item", "value")} for one in records(tmp_path) if one]
    assert kept == [
        {"request_id": "r", "action": "clicked", "item": "d1", "value": None},
        {"request_id": "r", "action": "rated", "item": None, "value": 0.5},
        {"request_id": "r", "action": "succeeded", "item": None, "value": 3.0},
    ]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "at least 1"),
        ([{"request_id": "r", "action": "liked"}], "'shown', 'clicked'"),
        ([{"request_id": "", "action": "shown"}], "at least 1 character"),
        ([{"request_id": "r", "action": "shown"}] * 1001, "at most 1000"),
        (
            [{"request_id": "r", "action": "shown"}, {"request_id": "r", "action": "rated"}],
            "event 1 is a rating without",
        ),
        ([{"request_id": "r", "action": "rated", "value": 3}], "event 0 is a rating outside 0 to 1: 3"),
        ([{"request_id": "r", "action": "rated", "value": -0.01}], "event 0 is a rating outside 0 to 1: -0.01"),
        (
            [{"request_id": "r", "action": "chosen", "item": "a"}, {"request_id": "r", "action": "chosen"}],
            "event 1 is `chosen`, and names no item",
        ),
        ([{"request_id": "r", "action": "clicked"}], "event 0 is `clicked`, and names no item"),
    ],
)
def test_what_is_no_feedback_is_refused_and_nothing_kept(tmp_path: Path, events: list[object], message: str) -> None:
    status, body = served(client_of(Journal(tmp_path)), *events)
    assert status == 422 and message in str(body) and records(tmp_path) == []


def test_a_service_that_keeps_none_says_so() -> None:
    assert served(client_of(None), {"request_id": "r", "action": "shown"})[0] == 404


def test_a_full_disk_is_told_and_the_next_event_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    client, real = client_of(journal), os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 100:
            return real(file, data[:20])  # part of it fits
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("serving.journal.os.write", full)
    status, body = served(client, {"request_id": "lost", "action": "shown"})
    assert status == 503 and "send these events again" in str(body)
    monkeypatch.setattr("serving.journal.os.write", real)
    assert served(client, {"request_id": "kept", "action": "shown"})[0] == 202
    found = records(tmp_path)
    assert [one["request_id"] for one in found if one is not None] == ["kept"] and found.count(None) >= 1


WRITER = """
import asyncio, sys
from pathlib import Path
from serving.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]))
    async def one(number):
        while True:
            await journal.commit([{"kind": "feedback", "number": number}])
            print(number, flush=True)
            number += 100
    await asyncio.gather(*(one(number) for number in range(100)))

asyncio.run(main())
"""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(500)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()
        newest = max(tmp_path.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        kept = {json.loads(line)["number"] for line in newest.read_bytes().split(b"\n")[:-1]}
        assert set(acknowledged) <= kept


def test_events_that_come_together_are_synchronised_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, syncs = Journal(tmp_path), []
    real = os.fdatasync
    monkeypatch.setattr("serving.journal.os.fdatasync", lambda file: (syncs.append(file), time.sleep(0.01), real(file)))

    async def many() -> None:
        await asyncio.gather(*(journal.commit([event(item=str(number))]) for number in range(300)))

    asyncio.run(many())
    assert len(records(tmp_path)) == 300 and 1 <= len(syncs) <= 3


def test_notes_are_written_with_what_is_committed_and_at_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note({"kind": "served", "n": 1})
    assert records(tmp_path) == []
    asyncio.run(journal.commit([event()]))
    journal.note({"kind": "served", "n": 2})
    asyncio.run(journal.flush())
    journal.note({"kind": "served", "n": 3})
    journal.close()
    assert [one.get("n") for one in records(tmp_path) if one] == [1, None, 2, 3]


def test_a_request_is_one_row_with_all_that_became_of_it() -> None:
    answer = {"kind": "served", "request_id": "a", "time": 5.5, "query": "q", "mode": "bm25"}
    joined = join_interactions(
        [
            event(request_id="b", action="failed", session="s"),
            {**answer, "items": ["d1", "d2"], "scores": [2.0, 1.0]},
            event(request_id="a", item="d2"),
            event(request_id="a", item="d2"),  # sent again
            None,
            event(request_id="a", action="rated", value=0.25),
            event(request_id="a", action="succeeded", session="t"),
            {"kind": "other", "request_id": "a"},
        ]
    )
    b, a = joined.table.to_pylist()
    assert joined.rejected == 2
    assert (a["items"], a["chosen"], a["outcome"], a["reward"], a["session"], a["events"]) == (
        ["d1", "d2"],
        ["d2"],
        "succeeded",
        0.25,
        "t",
        3,
    )
    assert a["time"].timestamp() == 5.5
    assert (b["query"], b["outcome"], b["events"], b["time"]) == (None, "failed", 1, None)


def test_nothing_is_acknowledged_before_it_is_synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, order, real = Journal(tmp_path), list[str](), os.fdatasync

    def synchronise(file: int) -> None:
        time.sleep(0.02)
        real(file)
        order.append("synchronised")

    monkeypatch.setattr("serving.journal.os.fdatasync", synchronise)

    async def commit() -> None:
        await journal.commit([event()])
        order.append("acknowledged")

    asyncio.run(commit())
    assert order == ["synchronised", "acknowledged"]


def test_what_is_noted_while_the_disk_works_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.feedback.FLUSH_EVERY_S", 0.01)
    real = os.fdatasync
    monkeypatch.setattr("serving.journal.os.fdatasync", lambda file: (time.sleep(0.05), real(file)))
    service = FeedbackService(Journal(tmp_path))
    asked, answer = SearchRequest(query="q"), SearchResponse(query="q", mode="bm25", results=[])

    async def search_twice() -> None:
        service.served(asked, answer)
        await asyncio.sleep(0.03)  # the first is being synchronised
        service.served(asked, answer)
        await asyncio.sleep(0.3)

    asyncio.run(search_twice())
    assert len(records(tmp_path)) == 2


def test_what_was_noted_is_written_when_the_service_stops(tmp_path: Path) -> None:
    service = FeedbackService(Journal(tmp_path))

    async def search() -> None:
        service.served(SearchRequest(query="q"), SearchResponse(query="q", mode="bm25", results=[]))

    asyncio.run(search())
    service.close()
    service.close()
    assert [one["query"] for one in records(tmp_path) if one] == ["q"]


def test_the_last_event_by_the_clock_counts_and_a_change_of_mind_too() -> None:
    def rated(value: float, time: float) -> dict[str, object]:
        return event(action="rated", value=value) | {"time": time}

    late, early = event(action="failed") | {"time": 20.0}, event(action="succeeded") | {"time": 10.0}
    (row,) = join_interactions([late, early, rated(0.5, 1.0), rated(0.8, 2.0), rated(0.5, 3.0)]).table.to_pylist()
    assert (row["outcome"], row["reward"], row["events"]) == ("failed", 0.5, 4)
