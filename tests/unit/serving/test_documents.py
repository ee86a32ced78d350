"""Documents while a service runs: found and on disk when they are acknowledged, and again after any end of it."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from data.errors import EncoderUnavailable, InputError
from retrieval.open import read_meta
from retrieval.query import SearchQuery
from serving.admission import Admission
from serving.api import documents
from serving.api.errors import answer_errors
from serving.artifacts import LiveConfig
from serving.documents import DocumentsService
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits
from serving.index import IndexActor
from serving.keys import KeyRing, create_key
from serving.live_rows import PutDocument
from serving.live_store import LiveStore, NotOwner, read_sources
from serving.prepare import Preparer
from tests.unit.serving.live_writer import FORM, prepared
from tests.unit.serving.whole_application import CONFIG, DIM, ENCODER, LIMIT, whole_application, write_whole_run

REPOSITORY = Path(__file__).resolve().parents[3]
MODES = ("hybrid", "dense", "bm25")
NOTE = {"id": "note/1", "title": "Harbour", "text": "a quiet harbour at dawn", "metadata": {"kind": "k1", "new": 5}}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(whole_application(tmp_path)) as client:
        yield client


def put(client: TestClient, *given: dict[str, Any]) -> dict[str, Any]:
    answer = client.put("/v1/documents", json={"documents": list(given)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def delete(client: TestClient, *ids: str) -> dict[str, Any]:
    answer = client.request("DELETE", "/v1/documents", json={"ids": list(ids)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def found(client: TestClient, query: str, mode: str = "hybrid", **more: object) -> list[str]:
    answer = client.post("/v1/search", json={"query": query, "mode": mode, "top_k": 100, **more})
    assert answer.status_code == 200, answer.text
    return [one["document_id"] for one in answer.json()["results"]]


def refused(client: TestClient, body: object) -> tuple[int, str]:
    answer = client.put("/v1/documents", json=body)
    return answer.status_code, answer.json()["error"]["message"]


@pytest.mark.parametrize("mode", MODES)
def test_a_document_is_found_when_it_is_acknowledged(client: TestClient, mode: str) -> None:
    assert "note/1" not in found(client, "quiet harbour at dawn", mode)
    assert put(client, NOTE) == {"created": 1, "replaced": 0, "deleted": 0, "unknown": 0, "live": 1, "version": 1}
    assert found(client, "quiet harbour at dawn", mode)[0] == "note/1"
    assert client.get("/v1/documents/note/1").json() == NOTE
    assert found(client, "quiet harbour at dawn", mode, filter={"kind": "k1"})[0] == "note/1"
    assert "note/1" not in found(client, "quiet harbour at dawn", mode, filter={"kind": "k2"})


@pytest.mark.parametrize("mode", MODES)
def test_a_document_of_the_index_is_replaced_and_deleted(client: TestClient, mode: str) -> None:
    assert "d/4" in found(client, "word4", mode)
    put(client, {"id": "d/4", "text": "a quiet harbour"})
    assert found(client, "quiet harbour", mode)[0] == "d/4"
    assert ("d/4" in found(client, "word4", mode)) is (mode != "bm25")  # vectors find everything
    delete(client, "d/4")
    assert "d/4" not in found(client, "quiet harbour word4", mode)
    put(client, {"id": "d/4", "text": "word4"})
    assert "d/4" in found(client, "word4", mode)


def test_writes_are_counted_for_what_they_did(client: TestClient) -> None:
    first = put(client, NOTE, {"id": "a", "text": "new text of a"})  # the corpus has a
    assert (first["created"], first["replaced"]) == (1, 1)
    assert put(client, NOTE)["replaced"] == 1
    first = delete(client, "note/1", "nobody", "b", "note/1")
    assert (first["deleted"], first["unknown"], first["live"]) == (2, 1, 1)
    again = client.delete("/v1/documents/note/1").json()
    assert (again["deleted"], again["unknown"]) == (0, 1)
    assert again["version"] > first["version"]


def test_looking_up_knows_what_was_written(client: TestClient) -> None:
    put(client, {"id": "a", "title": "A", "text": "new text"}, {"id": "c", "text": "no title"})
    assert client.get("/v1/documents/a").json()["text"] == "new text"
    assert client.get("/v1/documents/c").json()["title"] == "c"
    links = client.get("/v1/links/a").json()
    assert (links["title"], [link["id"] for link in links["known"]]) == ("A", ["b"])
    assert client.get("/v1/links/c").json()["known"] == []
    delete(client, "b")
    assert client.get("/v1/documents/b").status_code == 404
    assert client.get("/v1/links/b").status_code == 404
    assert client.get("/v1/links/a").json()["known"] == []


def test_an_answer_that_was_kept_is_not_given_after_a_write(tmp_path: Path) -> None:
    with TestClient(whole_application(tmp_path, kept_mb=8)) as client:
        before = found(client, "quiet harbour")
        assert found(client, "quiet harbour") == before
        put(client, NOTE)
        assert found(client, "quiet harbour")[0] == "note/1"
        delete(client, "note/1")
        assert found(client, "quiet harbour") == before


def test_an_answer_that_is_made_during_a_write_is_not_kept_for_after_it(tmp_path: Path) -> None:
    application = whole_application(tmp_path, kept_mb=8)
    live = application.state.index._live
    apply, during = live.apply, list[list[str]]()

    def slow(*change: Any) -> None:  # noqa: ANN401
        during.append(found(client, "quiet harbour"))  # on disk, and not found yet
        apply(*change)

    live.apply = slow
    with TestClient(application) as client:
        put(client, NOTE)
        assert "note/1" not in during[0]
        assert found(client, "quiet harbour")[0] == "note/1"


def document(id_: object = "x", **more: object) -> dict[str, object]:
    return {"documents": [{"id": id_, "text": "text", **more}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"documents": []}, "at least 1 item"),
        ({"documents": [{"id": "x", "text": "t"}] * 2}, "the id 'x' occurs twice"),
        ({"documents": [{"id": str(n), "text": "t"} for n in range(257)]}, "at most 256 items"),
        (document(""), "at least 1 character"),
        (document(" "), "match pattern"),
        (document(5), "valid string"),
        (document(text=" "), "document 'x' has neither text nor title"),
        (document(text="t" * 100_001), "the text of document 'x' has 100,001 characters; at most 100,000"),
        (document(metadata={"a": {"b": "\ud800"}}), "'a.b' is not valid Unicode"),
        (document(time="soon"), "valid datetime"),
        (document(vector=[1.0]), "Extra inputs"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_document_is_named_and_none_is_put(client: TestClient, body: Any, message: str) -> None:  # noqa: ANN401
    answer = client.put("/v1/documents", content=json.dumps(body), headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, "documents")
    assert message in error["message"]
    assert put(client, NOTE)["version"] == 1


def test_metadata_of_other_kinds_is_kept_and_found_by_no_filter(client: TestClient) -> None:
    put(client, {**NOTE, "metadata": {"kind": 7, "big": 2**70, "deep": {"er": [1, "x"]}}})
    assert client.get("/v1/documents/note/1").json()["metadata"] == {"kind": 7, "big": 2**70, "deep": {"er": [1, "x"]}}
    assert found(client, "quiet harbour")[0] == "note/1"
    assert "note/1" not in found(client, "quiet harbour", filter={"kind": {"exists": True}})


def test_there_is_a_bound_and_what_is_deleted_makes_room(client: TestClient) -> None:
    put(client, *({"id": f"n{n}", "text": f"text {n}"} for n in range(LIMIT)))
    status, message = refused(client, document("one more"))
    assert status == 403
    assert message.startswith(f"{LIMIT} live documents at most; `catena index` puts them into the index")
    assert put(client, {"id": "n0", "text": "another text"})["replaced"] == 1
    assert delete(client, "n1")["live"] == LIMIT - 1
    assert put(client, {"id": "one more", "text": "text"})["live"] == LIMIT


class Down:
    """An encoder that is down: no model fails on request."""

    async def embed(self, texts: list[str], kind: str) -> Any:  # noqa: ANN401
        raise EncoderUnavailable("the encoder is unavailable", "Wait.")

    embed_tokens = embed


@pytest.mark.parametrize("trouble", ["encoder", "queue", "off", "disk", "owner"])
def test_what_stops_writes_is_told(tmp_path: Path, trouble: str) -> None:
    write_whole_run(tmp_path)
    live = LiveConfig(folder=tmp_path / "live", limit=5)
    owner = LiveStore(live.folder) if trouble == "owner" else None  # of the replica before
    index = IndexActor(tmp_path / "run" / "out", live, tmp_path)
    meta, tokens = read_meta(tmp_path / "run" / "out"), Admission(0.0, 1)
    encoder: Any = Down() if trouble == "encoder" else Embedder(ENCODER, meta, CONFIG)
    preparer = None if trouble == "off" else Preparer(live, ENCODER, meta, encoder)
    service = DocumentsService(index, preparer, EmbeddingLimits(9, 9000), tokens)
    if trouble == "disk":
        assert index._live is not None
        index._live._folder.store._file.execute("PRAGMA max_page_count = 1")
    api = FastAPI()
    answer_errors(api)
    api.include_router(documents.writes_router(service))
    client = TestClient(api)
    expected = {
        "encoder": (503, "the encoder is unavailable"),
        "queue": (429, "the service is at its limit"),
        "off": (404, "serve.live_documents is 0"),
        "disk": (503, "documents cannot be written now: database or disk is full"),
        "owner": (503, "serves this run too, and takes its documents until it ends"),
    }[trouble]
    big = {"id": "x", "text": "long " * 1500}
    if trouble == "queue":
        with tokens.admitted(10):
            status, message = refused(client, {"documents": [big]})
    else:
        status, message = refused(client, {"documents": [big]})
    assert status == expected[0]
    assert expected[1] in message
    assert asyncio.run(index.version()) == 0
    assert asyncio.run(index.standing(["x"])) == {}
    if owner is not None:
        assert client.delete("/v1/documents/x").headers["retry-after"] == "1"
        owner.close()
        assert client.put("/v1/documents", json={"documents": [big]}).status_code == 200
    index.close()


def test_a_service_that_starts_again_has_what_was_acknowledged(tmp_path: Path) -> None:
    application = whole_application(tmp_path)
    with TestClient(application) as client:
        put(client, NOTE, {"id": "d/4", "text": "nothing left of it"})
        delete(client, "d/5")
        before = [client.post("/v1/search", json={"query": q, "top_k": 50}).json() for q in ("harbour word4", "word5")]
    application.state.index.close()
    with TestClient(whole_application(tmp_path)) as client:
        after = [client.post("/v1/search", json={"query": q, "top_k": 50}).json() for q in ("harbour word4", "word5")]
        assert put(client, {"id": "z", "text": "z"})["version"] == 4
    assert after == before


def test_what_the_index_has_in_it_is_not_put_again(tmp_path: Path) -> None:
    application = whole_application(tmp_path)
    with TestClient(application) as client:
        put(client, NOTE)
        put(client, {"id": "later", "text": "a later harbour"})
    application.state.index.close()
    index = IndexActor(tmp_path / "run" / "out", LiveConfig(folder=tmp_path / "live", folded=1, limit=5), tmp_path)
    assert asyncio.run(index.standing(["note/1", "later"])) == {"later": True}
    index.close()


def test_a_run_has_one_owner_and_the_next_takes_over(tmp_path: Path) -> None:
    first, second = LiveStore(tmp_path), LiveStore(tmp_path)
    first.write([prepared("a")])
    assert (second.owned, second.look()) == (False, 1)
    with pytest.raises(NotOwner, match=r"process \d+ on .* serves this run too, and takes its documents until it ends"):
        second.write(["a"])
    assert [one.id for page in second.since(0, FORM) for one in page if one.prepared] == ["a"]
    first.close()
    assert (second.own(), second.write(["a"])) == (True, 2)
    second.close()


def test_a_document_is_kept_in_each_form_until_it_is_put_again(tmp_path: Path) -> None:
    store = LiveStore(tmp_path)
    one, other = prepared("x").made[FORM], prepared("x", form="other").made["other"]

    def forms() -> list[str]:
        return [form for form in (FORM, "other") for page in store.since(0, form) for got in page if got.prepared]

    store.write([prepared("x")])
    assert forms() == [FORM]
    store.keep("other", [(7, other)])  # of a write that is not the last of x
    assert forms() == [FORM]
    store.keep("other", [(1, other)])
    assert forms() == [FORM, "other"]
    store.write([PutDocument("x", one.source, {FORM: one})])
    assert forms() == [FORM]
    store.write(["x"])
    assert forms() == []
    store.close()


def test_a_write_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    store = LiveStore(tmp_path)
    store.write([prepared("kept")])
    store._file.execute("PRAGMA max_page_count = 1")  # a full disk
    with pytest.raises(InputError, match="disk is full"):
        store.write(["kept", prepared("a", "long" * 10_000)])
    assert [id_ for _, id_, source in read_sources(tmp_path) if source is not None] == ["kept"]
    store._file.execute("PRAGMA max_page_count = 100000")
    assert store.write(["kept"]) == 2
    store.close()


def test_what_was_put_is_read_while_it_is_written(tmp_path: Path) -> None:
    assert list(read_sources(tmp_path)) == []
    store = LiveStore(tmp_path)
    store.write([prepared("b"), prepared("a"), "c"])
    store.write([prepared("b", "again")])
    read = [(number, id_, source and source["text"]) for number, id_, source in read_sources(tmp_path)]
    assert read == [(2, "a", "text"), (3, "c", None), (4, "b", "again")]
    store.close()


def test_a_key_needs_the_scope_to_write(tmp_path: Path) -> None:
    keys = {scope: create_key(tmp_path / "keys.json", scope, [scope])[1] for scope in ("search", "write")}  # type: ignore[list-item]
    with TestClient(whole_application(tmp_path, ring=KeyRing(tmp_path / "keys.json"))) as client:
        for scope, expected in (("search", 403), ("write", 200)):
            headers = {"authorization": f"Bearer {keys[scope]}"}
            asked = [
                client.put("/v1/documents", json={"documents": [NOTE]}, headers=headers),
                client.request("DELETE", "/v1/documents", json={"ids": ["a"]}, headers=headers),
                client.delete("/v1/documents/a", headers=headers),
            ]
            assert [answer.status_code for answer in asked] == [expected] * 3
        read = client.get("/v1/documents/note/1", headers={"authorization": f"Bearer {keys['search']}"})
        assert read.status_code == 200


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """The writer is killed in the midst of its writes, again and again, and another takes over at once."""
    write_whole_run(tmp_path)
    acknowledged: set[str] = set()
    for turn in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.serving.live_writer", str(tmp_path)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(100 + 57 * turn)]
        writer.send_signal(signal.SIGKILL)
        lines += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()
        acknowledged |= {"/".join(line.split()) for line in lines}
    kept = {id_ for _, id_, source in read_sources(tmp_path / "live") if source is not None}
    assert acknowledged <= kept  # what a killed owner left half done is rolled back by whoever reads
    index = IndexActor(tmp_path / "run" / "out", LiveConfig(folder=tmp_path / "live", limit=10**6), tmp_path)
    standing = asyncio.run(index.standing(sorted(acknowledged)))
    assert {id_ for id_, put in standing.items() if put} == acknowledged
    query = SearchQuery("text", "dense", top_k=10_000)
    vector = np.full(DIM, DIM**-0.5, np.float32)
    found = {hit.document_id for hit in asyncio.run(index.search(query, vector))}
    assert acknowledged <= found
    assert not {f"d/{n}" for n in range(7)} & found
    index.close()
