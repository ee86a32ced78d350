"""A service under load whose replicas are killed: no request fails that the client asks once more."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.serve import ARTIFACTS, service_of
from serving.client import Client
from serving.listener import Listener

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT, DIRECT_PORT = 18_322, 18_323
SECONDS = 12.0


def planned(folder: Path, name: str, replicas: int) -> Plan:
    """A run of twenty documents whose artifacts are there."""
    documents = [{"id": f"d{n}", "title": f"title {n}", "text": f"text of number {n}"} for n in range(20)]
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, documents)))
    run = RunConfig.model_validate(
        {
            "name": name,
            "workspace": folder / "workspace",
            "source": {"files": {"documents": {"path": str(folder / "documents.jsonl")}}},
            "encoder": {"hashed": {"dim": 64}},
            "serve": {"replicas": replicas, "kept_answers_mb": 0},
        }
    )
    plan = Plan(run)
    for stage in ARTIFACTS:
        plan.bring(stage)
    return plan


@pytest.fixture
def url(cluster: None, tmp_path: Path) -> Iterator[str]:
    """Two replicas behind Serve's proxy."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    plan = planned(tmp_path, "killed", replicas=2)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(build(service_of(plan)), name="killed", route_prefix="/")
    yield f"http://127.0.0.1:{PORT}"
    serve.delete("killed")


@pytest.fixture
def direct_url(cluster: None, tmp_path: Path) -> Iterator[str]:
    """One replica, which listens itself."""
    from ray import serve

    from serving.app import build

    plan = planned(tmp_path, "alone", replicas=1)
    with Listener("127.0.0.1", DIRECT_PORT) as listener:
        service = service_of(plan).model_copy(update={"listener": listener.path})
        serve.run(build(service), name="alone", route_prefix="/alone")
        yield f"http://127.0.0.1:{DIRECT_PORT}"
        serve.delete("alone")


def kill(application: str, deployment: str) -> int:
    """Kill one replica of a deployment; how many there were."""
    import ray

    asked = f"{application}#{deployment}#"
    alive = [one for one in ray.util.list_named_actors(all_namespaces=True) if asked in one["name"]]
    ray.kill(ray.get_actor(alive[0]["name"], namespace=alive[0]["namespace"]))
    return len(alive)


def noted_kill(there: list[int], application: str, deployment: str) -> None:
    """Kill one, and note how many there were."""
    there.append(kill(application, deployment))


def outcomes_around(url: str, disturb: Callable[[], object], retries: int) -> Counter[str]:
    """What four callers get who ask without a pause, while something happens after two seconds."""
    stop, outcomes, lock = time.monotonic() + SECONDS, Counter[str](), threading.Lock()

    def ask(number: int) -> None:
        with Client(url, retries=retries) as client:
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
    disturb()
    for caller in callers:
        caller.join()
    assert outcomes["right"] > before > 0
    return outcomes


def test_requests_survive_a_killed_replica(url: str) -> None:
    for deployment, replicas in (("Ingress", 2), ("IndexActor", 1)):
        there: list[int] = []
        outcomes = outcomes_around(url, partial(noted_kill, there, "killed", deployment), retries=6)
        assert there == [replicas]
        assert set(outcomes) == {"right"}, outcomes


def test_the_only_replica_is_killed_and_requests_wait_for_the_next_one(direct_url: str) -> None:
    there: list[int] = []
    outcomes = outcomes_around(direct_url, partial(noted_kill, there, "alone", "Ingress"), retries=1)
    assert there == [1]
    assert set(outcomes) == {"right"}, outcomes
