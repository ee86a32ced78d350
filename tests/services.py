"""A small service and callers that never pause, for tests of what happens to it meanwhile."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.serve import ARTIFACTS
from serving.client import Client

SETTLED_S = 3.0  # for which callers go on asking after what happened
CALLS_BEFORE = 40  # that have been answered when it happens


def run_of(folder: Path, name: str, documents: int = 20, **serve: Any) -> dict[str, Any]:  # noqa: ANN401 - of ServeConfig
    """A run of some documents, as a run file says it; what a service writes is kept under its name."""
    path = folder / f"documents_{documents}.jsonl"
    rows = [{"id": f"d{n}", "title": f"title {n}", "text": f"text of number {n}"} for n in range(documents)]
    if not path.exists():  # a source file that is written again is another one, and its stages are made again
        path.write_text("\n".join(map(json.dumps, rows)))
    return {
        "name": name,
        "workspace": str(folder / "workspace"),
        "source": {"files": {"documents": {"path": str(path)}}},
        "encoder": {"hashed": {"dim": 64}},
        "serve": {"kept_answers_mb": 0, **serve},
    }


def planned(run: dict[str, Any]) -> Plan:
    """A run whose artifacts are there."""
    plan = Plan(RunConfig.model_validate(run))
    for stage in ARTIFACTS:
        plan.bring(stage)
    return plan


def replicas(part: str) -> dict[str, str]:
    """Names of the replicas that are there whose name has a part, and the namespace of each."""
    import ray

    found = ray.util.list_named_actors(all_namespaces=True)
    return {one["name"]: one["namespace"] for one in found if part in one["name"]}


def outcomes_around(url: str, disturb: Callable[[], object], retries: int) -> Counter[str]:
    """What four callers get who ask without a pause before something happens, meanwhile and for some seconds after."""
    over, outcomes, lock = threading.Event(), Counter[str](), threading.Lock()

    def ask(number: int) -> None:
        with Client(url, retries=retries) as client:
            while not over.is_set():
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
    try:
        while not over.wait(0.02) and outcomes.total() < CALLS_BEFORE:
            pass
        before = outcomes["right"]
        disturb()
        time.sleep(SETTLED_S)
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert outcomes["right"] > before > 0
    return outcomes
