"""The service over HTTP: a small corpus through every stage, then each route, right and wrong."""

import concurrent.futures
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.serving.load import free_port
from data.errors import InputError
from data.partitions import partition_name, read_table, write_partition
from ray_apps.config import RunConfig
from ray_apps.feedback import COMMAND as FEEDBACK
from ray_apps.plan import Plan
from ray_apps.search import COMMAND as SEARCH
from retrieval.filters import parse_filter
from retrieval.query import SearchQuery
from retrieval.steps import FindStep, RankStep, every_pipeline
from serving.client import Client, ServiceError
from serving.config import ServeConfig
from serving.index import IndexActor
from serving.lookup import write_lookup
from serving.traffic import Release, change_traffic, with_live

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    {
        "id": "scipy/linalg.inv",
        "title": "inv",
        "text": "Compute the inverse of a square matrix.",
        "kind": "array",
        "since": {"year": 2001},
    },
    {
        "id": "numpy/svd",
        "title": "svd",
        "text": "Factorise a matrix into singular vectors and values.",
        "kind": "array",
        "since": {"year": 2006},
        "tags": ["linear", "exact"],
    },
    {"id": "fft", "title": "fft", "text": "Discrete Fourier transform of a signal.", "kind": "signal"},
    {"id": "csv\nindex", "title": "an odd id", "text": "Names of columns.", "kind": "files"},
    {"id": "csv", "title": "read_csv", "text": "Read a comma-separated values file into a table.", "kind": "files"},
]


@pytest.fixture(scope="module")
def run(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("service")
    (folder / "documents.jsonl").write_text("\n".join(json.dumps(document) for document in DOCUMENTS))
    (folder / "links.csv").write_text("source,target\nscipy/linalg.inv,numpy/svd\nfft,scipy/linalg.inv\n")
    files = {
        name: {"path": str(folder / file)} for name, file in (("documents", "documents.jsonl"), ("links", "links.csv"))
    }
    return RunConfig.model_validate({"name": "service", "workspace": folder / "workspace", "source": {"files": files}})


@pytest.fixture(scope="module", params=["compact", "spread"])
def client(
    request: pytest.FixtureRequest, run: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import Service, build

    built, tables = Plan(run).bring("index"), Plan(run).bring("ingest")
    discovered, lookup = tmp_path_factory.mktemp("discovered"), tmp_path_factory.mktemp("lookup")
    proposal: dict[str, object] = {
        "source": "csv",
        "target": "numpy/svd",
        "source_title": "read_csv",
        "target_title": "svd",
    }
    proposal |= {"relation": "see_also", "probability": 0.5, "reason": "both read"}
    write_partition(pa.Table.from_pylist([proposal]), discovered / partition_name(0))
    write_lookup(lookup, tables.path / "documents", tables.path / "links", discovered)
    traffic = tmp_path_factory.mktemp("traffic") / "test.json"
    ranked = (FindStep(find="hybrid"), RankStep(rank="cross-encoder", depth=3))
    pipelines = every_pipeline({"ranked": ranked}, late=False, depth=None)
    release = Release(id="one", index=built.path, lookup=lookup, encoder=run.encoder, passages=5, pipelines=pipelines)
    change_traffic(traffic, lambda before: with_live(before, release))
    service = Service(
        traffic=traffic,
        journals=run.workspace / "journals" / run.name,
        serve=ServeConfig(layout=request.param),
    )
    port = free_port()
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    serve.run(build(service), name="test", route_prefix="/")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        yield http
    serve.shutdown()


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_search_finds_the_document(client: httpx.Client, mode: str) -> None:
    answer = client.post("/v1/search", json={"query": "inverse of a matrix", "top_k": 2, "mode": mode})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["query"], body["mode"]) == ("inverse of a matrix", mode)
    first = body["results"][0]
    assert first["document_id"] == "scipy/linalg.inv"
    assert first["text"] == DOCUMENTS[0]["text"][first["start"] : first["end"]]
    assert first["metadata"] == {"kind": "array", "since": {"year": 2001}}


def test_the_service_answers_as_the_command_line_does(client: httpx.Client, run: RunConfig) -> None:
    body = client.post("/v1/search", json={"query": "table of values", "top_k": 4}).json()
    assert SEARCH.call is not None
    words = SEARCH.parser().parse_args(["run.yaml", "table of values", "--top-k", "4"])
    found = SEARCH.call(Plan(run), words)
    assert [hit["document_id"] for hit in body["results"]] == [hit["document_id"] for hit in found["hits"]]
    ours = [hit["score"] for hit in found["hits"]]
    assert [hit["score"] for hit in body["results"]] == pytest.approx(ours, rel=1e-4)
    assert json.dumps(found)


def test_filters(client: httpx.Client) -> None:
    body = client.post("/v1/search", json={"query": "matrix", "filter": {"kind": ["signal", "files"]}}).json()
    assert {hit["document_id"] for hit in body["results"]} == {"fft", "csv", "csv\nindex"}
    answer = client.post("/v1/search", json={"query": "matrix", "filter": {"knid": "signal"}})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert (error["type"], error["param"]) == ("invalid_request", "filter")
    assert error["message"] == "no filter by 'knid'; did you mean 'kind'?"


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({"since.year": {"gt": 2001}}, {"numpy/svd"}),
        ({"since.year": [2001, "2006"], "not": {"tags": "exact"}}, {"scipy/linalg.inv"}),
        ({"tags": {"exists": False}, "kind": "array"}, {"scipy/linalg.inv"}),
    ],
)
def test_filters_by_type(client: httpx.Client, filter_: object, found: set[str]) -> None:
    body = client.post("/v1/search", json={"query": "matrix", "filter": filter_}).json()
    assert {hit["document_id"] for hit in body["results"]} == found


def test_methods(client: httpx.Client) -> None:
    head, get = client.head("/v1/links/csv"), client.get("/v1/links/csv")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(get.content)))
    assert client.head("/healthz").status_code == 200
    assert client.put("/healthz").headers["allow"] == "GET, HEAD"
    assert client.get("/v1/links/csv%0Aindex").json()["title"] == "an odd id"


def test_links_known_and_discovered(client: httpx.Client) -> None:
    body = client.get("/v1/links/scipy/linalg.inv").json()
    assert (body["id"], body["title"], body["discovered"]) == ("scipy/linalg.inv", "inv", [])
    assert {(link["id"], link["direction"]) for link in body["known"]} == {("numpy/svd", "out"), ("fft", "in")}
    body = client.get("/v1/links/numpy%2Fsvd").json()
    assert [(link["id"], link["probability"]) for link in body["discovered"]] == [("csv", 0.5)]
    assert len(client.get("/v1/links/scipy/linalg.inv", params={"limit": 1}).json()["known"]) == 1


def test_a_document_is_answered_as_the_corpus_has_it(client: httpx.Client) -> None:
    body = client.get("/v1/documents/numpy/svd").json()
    assert (body["title"], body["text"]) == ("svd", DOCUMENTS[1]["text"])
    assert body["metadata"] == {"kind": "array", "since": {"year": 2006}, "tags": ["linear", "exact"]}


def test_embeddings_are_those_that_the_index_holds(client: httpx.Client, run: RunConfig) -> None:
    body = client.post("/v1/embeddings", json={"input": [document["text"] for document in DOCUMENTS]}).json()
    assert len(body["data"]) == 5 and body["usage"]["prompt_tokens"] > 30
    vectors = {len(row["embedding"]) for row in body["data"]}
    assert vectors == {Plan(run).bring("index").result["dim"]}


@pytest.mark.parametrize(
    ("path", "status", "type_", "param"),
    [
        ("/v1/documents/nobody", 404, "not_found", "id"),
        ("/v1/links/nobody", 404, "not_found", "id"),
        ("/v1/links/csv?limit=0", 422, "invalid_request", "limit"),
        ("/v1/nowhere", 404, "not_found", None),
        ("/v1/search", 405, "method_not_allowed", None),
    ],
)
def test_errors_are_typed(client: httpx.Client, path: str, status: int, type_: str, param: str | None) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == (type_, param)
    assert error["message"]


def test_health_runs_model_and_index(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    body = client.get("/readyz").json()
    assert (body["status"], body["passages"]) == ("ok", 5)
    assert body["encode_ms"] > 0
    assert body["search_ms"] > 0


def test_many_at_once_each_get_their_own_answer(client: httpx.Client) -> None:
    asked = [document["text"] for document in DOCUMENTS] * 8

    def ask(text: str) -> str:
        found: str = client.post("/v1/search", json={"query": text, "top_k": 1}).json()["results"][0]["document_id"]
        return found

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, asked))
    assert found == [document["id"] for document in DOCUMENTS] * 8


def test_the_index_is_an_actor_too(run: RunConfig) -> None:
    import ray

    actor = ray.remote(num_cpus=0)(IndexActor).remote(Plan(run).bring("index").path)
    asked = [SearchQuery(text, "bm25", top_k=1) for text in ("inverse", "signal", "values file")]
    found = ray.get([actor.search.remote(query, None) for query in asked])
    assert [hits[0].document_id for hits in found] == ["scipy/linalg.inv", "fft", "csv"]
    with pytest.raises(InputError, match="no filter by 'x'"):
        ray.get(actor.search.remote(SearchQuery("inverse", "bm25", filter=parse_filter({"x": "y"})), None))
    ray.kill(actor)


def test_docs_are_served(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    shipped = json.loads((REPOSITORY / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert client.get("/openapi.json").json() == shipped


def test_models_and_metrics(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["purposes"] == ["embeddings", "search", "rerank"]
    assert "catena_requests_total{" in client.get("/metrics").text


def test_feedback_is_joined_with_what_was_answered(client: httpx.Client, run: RunConfig) -> None:
    answer = client.post("/v1/search", json={"query": "signal", "top_k": 2})
    told = {"request_id": answer.headers["x-request-id"], "action": "clicked", "item": "fft"}
    kept = client.post("/v1/feedback", json={"events": [told]})
    assert (kept.status_code, kept.json()) == (202, {"accepted": 1})
    assert FEEDBACK.call is not None
    table = FEEDBACK.call(Plan(run), FEEDBACK.parser().parse_args(["run.yaml"]))["table"]
    (row,) = [row for row in read_table(Path(table)).to_pylist() if row["request_id"] == told["request_id"]]
    assert (row["query"], row["chosen"], row["events"]) == ("signal", ["fft"], 1)
    assert row["items"] == [hit["document_id"] for hit in answer.json()["results"]]


def test_the_client_asks_all_of_it(client: httpx.Client) -> None:
    with Client(str(client.base_url)) as ours:
        assert ours.search("inverse of a matrix", top_k=1).results[0].document_id == "scipy/linalg.inv"
        assert ours.embed(["one", "two", "three"]).shape[0] == 3
        assert ours.rerank("inverse", ["signal", "inverse of a matrix"]).results[0].index == 1
        assert ours.document("csv\nindex").title == "an odd id"
        assert ours.links("fft").known[0].id == "scipy/linalg.inv"
        with pytest.raises(ServiceError, match="there is no document 'nobody'"):
            ours.document("nobody")
        whole = ours.search("matrix of values", top_k=5)
        told = ours.search("matrix of values", top_k=5, explain=True)
        assert [one.document_id for one in told.results] == [one.document_id for one in whole.results]
        for one in told.results:
            assert one.explanation is not None
            assert sum(place.contribution for place in one.explanation.lists) == pytest.approx(one.score)
        paged = [one.document_id for page in ours.pages("matrix of values", top_k=2) for one in page.results]
        assert paged == [one.document_id for one in whole.results]
        ranked = ours.search("inverse of a matrix", pipeline="ranked", top_k=1)
        assert ranked.reranked and ranked.results[0].document_id == "scipy/linalg.inv"
        (row,) = ours.embeddings(["inverse"], ("dense", "sparse", "tokens"))
        assert row.embedding is not None and row.sparse is not None and len(row.sparse.indices) == 1
        assert row.tokens is not None and len(row.tokens[0]) == len(row.embedding)
        np.testing.assert_allclose(ours.embed([[19262]]), ours.embed(["inverse"]), atol=2e-3)
        with pytest.raises(ServiceError, match=r"400: list 0 of token ids has 1000000"):
            ours.embed([[1_000_000]])
        with pytest.raises(ServiceError, match="no link model: `catena discover"):
            ours.score_pairs([("fft", "csv")])


def test_a_killed_index_is_told_and_comes_back(client: httpx.Client) -> None:
    import ray

    replicas = [actor for actor in ray.util.list_named_actors(all_namespaces=True) if "test#" in actor["name"]]
    holders = [actor for actor in replicas if "IndexActor" in actor["name"]] or replicas  # one replica where compact
    for actor in holders:
        ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]))
    answers = [client.get("/readyz")]
    give_up = time.monotonic() + 60
    while answers[-1].status_code != 200 and time.monotonic() < give_up:
        assert answers[-1].json()["error"]["type"] == "unavailable"
        time.sleep(0.2)
        answers.append(client.get("/readyz"))
    assert answers[-1].status_code == 200
    assert client.post("/v1/search", json={"query": "signal", "top_k": 1}).json()["results"][0]["document_id"] == "fft"
