"""Replicas are replaced by ones of another configuration while questions are asked and documents put: none fails."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.load import free_port
from ray_apps.serve import service_of
from serving.client import Client
from serving.listener import Listener
from tests.services import outcomes_around, planned, replicas, run_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = free_port()


@contextmanager
def way_in(direct: bool) -> Iterator[Path | None]:
    """What listens: replicas themselves, at the socket that is given at the path, or Serve's proxy."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    if direct:
        serve.start(proxy_location="Disabled")
        with Listener("127.0.0.1", PORT) as listener:
            yield listener.path
            serve.shutdown()
        return
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    yield None
    serve.shutdown()


class Writers:
    """Put documents one after the other for as long as a block lasts, and look for each once it is acknowledged.

    Args:
        url: of the service.
        retries: of the client on 503.
    """

    def __init__(self, url: str, retries: int) -> None:
        self._url, self._retries, self._over = url, retries, threading.Event()
        self.put: list[str] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in "ab"]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, name: str) -> None:
        with Client(self._url, retries=self._retries) as client, Client(self._url, retries=0) as once:
            for number in count():
                id_ = f"harbour{name}{number}"
                try:
                    client.put_documents([{"id": id_, "text": id_}])
                    self.put.append(id_)
                    if [hit.document_id for hit in once.search(id_, mode="bm25").results] != [id_]:
                        self.failures.append(f"{id_} was acknowledged and is not found")
                except Exception as error:  # every failure counts, whatever it is
                    self.failures.append(f"{id_}: {type(error).__name__}: {error}"[:300])
                if self._over.is_set():
                    return


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("direct", {}),
        ("proxy", {}),
        ("spread", {"layout": "spread"}),
        ("no-room", {"replicas": 2}),  # of 2 cores they take 1.7: there is none for a third
    ],
    ids=["direct", "proxy", "spread", "no-room"],
)
def test_replicas_are_replaced_without_a_failed_request(services_folder: Path, name: str, size: dict[str, Any]) -> None:
    from ray import serve

    from serving.app import build

    url = f"http://127.0.0.1:{PORT}"

    with way_in(name == "direct") as path:

        def run(max_batch: int) -> None:
            plan = planned(run_of(services_folder, f"upgrade-{name}", max_batch=max_batch, **size))
            service = service_of(plan).model_copy(update={"listener": path})
            serve.run(build(service), name="upgrade", route_prefix="/")

        def replace(old: dict[str, str]) -> None:
            """All of them, of every deployment."""
            run(16)
            end = time.monotonic() + 60
            while old.keys() & replicas("upgrade#").keys():
                assert time.monotonic() < end, "an old replica stays"
                time.sleep(0.1)
            assert len(replicas("upgrade#")) == len(old)

        run(32)
        before = replicas("upgrade#")
        with Writers(url, retries=8) as writers:
            outcomes = outcomes_around(url, lambda: replace(before), retries=0)
        with Client(url) as client:
            assert client.put_documents([{"id": "last", "text": "last"}]).live == len(writers.put) + 1
            lost = [id_ for id_ in writers.put if not client.search(id_, mode="bm25", top_k=1).results]
    assert set(outcomes) == {"right"}, outcomes
    assert (writers.failures, lost) == ([], [])
