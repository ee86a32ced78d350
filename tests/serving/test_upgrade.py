"""Another index is taken up, and given back, while questions are asked: none of them fails."""

import json
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.serve import ARTIFACTS, service_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = 18_322
TOPICS = ("cats", "dogs", "parrots")


def indexed(folder: Path, documents: int) -> Plan:
    """A run of so many documents whose artifacts are there."""
    rows = [{"id": topic, "text": f"a document on {topic}"} for topic in TOPICS[:documents]]
    (folder / f"{documents}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plan = Plan(
        RunConfig.model_validate(
            {
                "name": "upgrade",
                "workspace": folder / "workspace",
                "source": {"files": {"documents": {"path": str(folder / f"{documents}.jsonl")}}},
                "encoder": {"hashed": {"dim": 64}},
            }
        )
    )
    for stage in ARTIFACTS:
        plan.bring(stage)
    return plan


class Load:
    """Asks one question after another, in a thread; counts the answers, and how long the slowest took."""

    def __init__(self, http: httpx.Client) -> None:
        self.answers: Counter[object] = Counter()
        self.slowest_s = 0.0
        self._http, self._over = http, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        asked = 0
        while not self._over.is_set():
            asked += 1
            began = time.monotonic()
            try:
                answer = self._http.post("/v1/search", json={"query": f"question {asked}"})
                self.answers[answer.status_code] += 1
            except httpx.HTTPError as error:
                self.answers[type(error).__name__] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def test_a_new_index_and_the_old_one_again_without_a_failed_request(tmp_path: Path) -> None:
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    old, new = indexed(tmp_path, 2), indexed(tmp_path, 3)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    try:
        serve.run(build(service_of(old)), name="upgrade", route_prefix="/")
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=30) as http, Load(http) as load:
            passages, took_s = [http.get("/readyz").json()["passages"]], []
            for plan in (new, old):
                began = time.monotonic()
                serve.run(build(service_of(plan)), name="upgrade", route_prefix="/")
                took_s.append(time.monotonic() - began)
                passages.append(http.get("/readyz").json()["passages"])
    finally:
        serve.shutdown()
    assert passages == [2, 3, 2]
    assert load.answers.keys() == {200} and load.answers[200] > 10
    assert load.slowest_s < min(took_s) / 2  # nobody waited for a replica to start
