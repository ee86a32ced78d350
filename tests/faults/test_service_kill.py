"""A service under load whose replicas are killed: no request fails that the client asks once more."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.serving.load import free_port
from ray_apps.serve import service_of
from serving.client import Client
from serving.listener import Listener
from tests.services import outcomes_around, planned, replicas, run_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT, DIRECT_PORT = free_port(), free_port()
SETTLED_S = 3.0  # for which callers go on after a replica was replaced


@pytest.fixture(scope="module")
def url(services_folder: Path) -> Iterator[str]:
    """Two replicas behind Serve's proxy."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    plan = planned(run_of(services_folder, "killed", replicas=2))
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(build(service_of(plan)), name="killed", route_prefix="/")
    yield f"http://127.0.0.1:{PORT}"
    serve.shutdown()


@pytest.fixture
def direct_url(services_folder: Path) -> Iterator[str]:
    """One replica, which listens itself."""
    from ray import serve

    from serving.app import build

    plan = planned(run_of(services_folder, "alone"))
    with Listener("127.0.0.1", DIRECT_PORT) as listener:
        service = service_of(plan).model_copy(update={"listener": listener.path})
        serve.run(build(service), name="alone", route_prefix="/alone")
        yield f"http://127.0.0.1:{DIRECT_PORT}"
        serve.shutdown()


def kill(application: str, deployment: str) -> int:
    """Kill one replica of a deployment and wait until another one serves in its place; how many there were."""
    import ray
    from ray import serve

    before = replicas(f"{application}#{deployment}#")
    name, namespace = next(iter(before.items()))
    ray.kill(ray.get_actor(name, namespace=namespace))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        now = replicas(f"{application}#{deployment}#")  # a new one is there once Serve has seen that the old one is not
        running = serve.status().applications[application].deployments[deployment].replica_states
        if name not in now and len(now) == len(before) and running == {"RUNNING": len(before)}:
            return len(before)
        time.sleep(0.1)
    raise AssertionError(f"{deployment} has {running} after a kill of one of {len(before)}")


def noted_kill(there: list[int], application: str, deployment: str) -> None:
    """Kill one, and note how many there were."""
    there.append(kill(application, deployment))


# First: the others share a service, and no two run at once.
def test_the_only_replica_is_killed_and_requests_wait_for_the_next_one(direct_url: str) -> None:
    there: list[int] = []
    outcomes = outcomes_around(direct_url, partial(noted_kill, there, "alone", "Ingress"), retries=1)
    assert there == [1]
    assert set(outcomes) == {"right"}, outcomes


def test_requests_survive_a_killed_replica(url: str) -> None:
    for deployment, count in (("Ingress", 2), ("IndexActor", 1)):
        there: list[int] = []
        outcomes = outcomes_around(url, partial(noted_kill, there, "killed", deployment), retries=6)
        assert there == [count]
        assert set(outcomes) == {"right"}, outcomes


@pytest.mark.parametrize("deployment", ["Ingress", "IndexActor"])
def test_documents_that_were_acknowledged_are_found_after_a_kill(url: str, deployment: str) -> None:
    """The one process that owns them is killed, or one that asks it, while others write and read their own writes."""
    over, lock = threading.Event(), threading.Lock()
    acknowledged: list[str] = []
    failures: list[str] = []

    def write(number: int) -> None:
        with Client(url, retries=6) as client:
            while not over.is_set():
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
    try:
        time.sleep(2.0)
        before = len(acknowledged)
        kill("killed", deployment)
        time.sleep(SETTLED_S)
    finally:
        over.set()
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
