"""A service under load whose replicas are killed: no request fails that the client asks once more."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.serve import ARTIFACTS, service_of
from serving.client import Client

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = 18_322
SECONDS = 12.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("killed")
    documents = [{"id": f"d{n}", "title": f"title {n}", "text": f"text of number {n}"} for n in range(20)]
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, documents)))
    return RunConfig.model_validate(
        {
            "name": "killed",
            "workspace": folder / "workspace",
            "source": {"files": {"documents": {"path": str(folder / "documents.jsonl")}}},
            "encoder": {"hashed": {"dim": 64}},
            "serve": {"replicas": 2, "kept_answers_mb": 0},
        }
    )


@pytest.fixture(scope="module")
def url(cluster: None, run: RunConfig) -> Iterator[str]:
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    plan = Plan(run)
    for stage in ARTIFACTS:
        plan.bring(stage)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(build(service_of(plan)), name="killed", route_prefix="/")
    yield f"http://127.0.0.1:{PORT}"
    serve.shutdown()


def kill(deployment: str) -> int:
    """Kill one replica of a deployment; how many there were."""
    import ray

    alive = [one for one in ray.util.list_named_actors(all_namespaces=True) if f"killed#{deployment}#" in one["name"]]
    ray.kill(ray.get_actor(alive[0]["name"], namespace=alive[0]["namespace"]))
    return len(alive)


@pytest.mark.parametrize("deployment", ["Ingress", "IndexActor"])
def test_requests_survive_a_killed_replica(url: str, deployment: str) -> None:
    stop, outcomes, lock = time.monotonic() + SECONDS, Counter[str](), threading.Lock()

    def ask(number: int) -> None:
        with Client(url, retries=6) as client:
            while time.monotonic() < stop:
                number += 1
                try:
                    found = client.search(f"number {number % 20}", mode=("hybrid", "bm25")[number % 2], top_k=3).results
                    outcome = "right" if found else "nothing found"
                except Exception as error:  # every failure counts, whatever it is
                    outcome = f"{type(error).__name__}: {error}"[:300]
                with lock:
                    outcomes[outcome] += 1

    callers = [threading.Thread(target=ask, args=(100 * number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    time.sleep(2.0)
    before = outcomes["right"]
    there = kill(deployment)
    for caller in callers:
        caller.join()
    assert there == (2 if deployment == "Ingress" else 1)
    assert set(outcomes) == {"right"}, outcomes
    assert outcomes["right"] > before > 0


@pytest.mark.parametrize("deployment", ["Ingress", "IndexActor"])
def test_documents_that_were_acknowledged_are_found_after_a_kill(url: str, deployment: str) -> None:
    """The one process that owns them is killed, or one that asks it, while others write and read their own writes."""
    stop, lock = time.monotonic() + SECONDS, threading.Lock()
    acknowledged: list[str] = []
    failures: list[str] = []

    def write(number: int) -> None:
        with Client(url, retries=6) as client:
            while time.monotonic() < stop:
                number += 1
                id_ = f"{deployment}{number}"
                try:
                    client.put_documents([{"id": id_, "text": f"harbour {id_}"}])
                    if client.document(id_).text != f"harbour {id_}":
                        failures.append(f"{id_} was acknowledged and is not there")
                except Exception as error:  # every failure counts, whatever it is
                    failures.append(f"{type(error).__name__}: {error}"[:300])
                with lock:
                    acknowledged.append(id_)

    writers = [threading.Thread(target=write, args=(100_000 * number,)) for number in range(1, 4)]
    for writer in writers:
        writer.start()
    time.sleep(2.0)
    before = len(acknowledged)
    kill(deployment)
    for writer in writers:
        writer.join()
    assert failures == []
    assert len(acknowledged) > before > 0
    with Client(url) as client:
        client.delete_documents(["d3"])
        found = {id_: client.search(id_, mode="bm25", top_k=1).results for id_ in acknowledged[::3]}
        gone = client.search("number 3", mode="bm25", top_k=100).results
    assert {id_: hits[0].document_id for id_, hits in found.items() if hits} == {id_: id_ for id_ in found}
    assert "d3" not in [hit.document_id for hit in gone]


def test_a_service_that_is_deployed_again_takes_over_what_was_put(url: str, run: RunConfig) -> None:
    from ray import serve

    from serving.app import build

    with Client(url, retries=8) as client:
        client.put_documents([{"id": "kept", "text": "kept over a deployment"}])
        changed = run.model_copy(update={"serve": run.serve.model_copy(update={"max_batch": 31})})
        serve.run(build(service_of(Plan(changed))), name="killed", route_prefix="/")
        assert client.search("kept over a deployment", top_k=1).results[0].document_id == "kept"
        assert client.put_documents([{"id": "kept", "text": "kept and replaced"}]).replaced == 1


def test_the_one_replica_that_owns_what_was_put_is_replaced(url: str, run: RunConfig) -> None:
    """Compact with one replica: the next one waits until the one before lets go of the documents."""
    from ray import serve

    from serving.app import build

    alone = run.model_copy(update={"name": "alone"})
    for batch in (31, 32):
        config = run.serve.model_copy(update={"max_batch": batch, "replicas": 1})
        plan = Plan(alone.model_copy(update={"serve": config}))
        serve.run(build(service_of(plan)), name="alone", route_prefix="/alone")
        with Client(f"{url}/alone", retries=8) as client:
            written = client.put_documents([{"id": "kept", "text": f"harbour {batch}"}])
            assert (written.created, written.replaced) == ((1, 0) if batch == 31 else (0, 1))
            assert client.search("harbour 32", mode="bm25", top_k=1).results[0].document_id == "kept"
