"""Replicas are replaced by ones of another configuration while questions are asked: none of them fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ray_apps.serve import service_of
from serving.listener import Listener
from tests.services import outcomes_around, planned, run_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = 18_322


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


@pytest.mark.parametrize("direct", [True, False])
def test_replicas_are_replaced_without_a_failed_request(tmp_path: Path, direct: bool) -> None:
    from ray import serve

    from serving.app import build

    url = f"http://127.0.0.1:{PORT}"

    def replica() -> str:
        page = httpx.get(f"{url}/metrics", timeout=30).text
        return page.partition('catena_requests_total{replica="')[2].partition('"')[0]

    with way_in(direct) as path:

        def run(max_batch: int) -> None:
            plan = planned(run_of(tmp_path, "upgrade", max_batch=max_batch))
            service = service_of(plan).model_copy(update={"listener": path})
            serve.run(build(service), name="upgrade", route_prefix="/")

        run(32)
        before = replica()
        outcomes = outcomes_around(url, lambda: run(16), retries=0)
        assert replica() != before
    assert set(outcomes) == {"right"}, outcomes
