"""Capabilities ranked by a service whose encoder is elsewhere: asked, told, and given another ranker."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving.load import free_port
from data.sources.kept_traces import kept_traces
from data.sources.rows import Trace
from serving.app import Service, build
from serving.client import Client
from serving.config import RankConfig, ServeConfig
from serving.traffic import change_traffic, with_live
from tests.unit.serving.test_capability_releases import folder, release_of, saved

__all__ = ["folder"]

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


@pytest.fixture
def served(cluster: None, folder: Path, tmp_path: Path) -> Iterator[Client]:
    """A service of layout spread over a ranker by cosines."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    release = release_of(folder, "old", saved(folder, tmp_path / "old"))
    change_traffic(tmp_path / "traffic.json", lambda traffic: with_live(traffic, release))
    config = ServeConfig(layout="spread", rank=RankConfig(explore="epsilon", epsilon=0.5))
    service = Service(
        traffic=tmp_path / "traffic.json", journals=tmp_path / "journals", features=tmp_path, serve=config
    )
    port = free_port()
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    serve.run(build(service), name="rank", route_prefix="/")
    with Client(f"http://127.0.0.1:{port}") as client:
        yield client
    serve.shutdown()


def test_a_service_ranks_learns_what_became_of_it_and_takes_up_another_ranker(
    served: Client, folder: Path, tmp_path: Path
) -> None:
    answer = served.rank("how far is the next town", top_k=3, explain=True)
    assert (answer.model_version, answer.explore, len(answer.results)) == ("v1", "epsilon", 3)
    assert sum(one.propensity for one in answer.results) == pytest.approx(1.0)
    last = answer.results[-1].id
    assert served.feedback([{"request_id": answer.request_id, "action": "chosen", "item": last}]) == 1
    rows = [row for task in kept_traces(tmp_path / "journals") for _, row in task.read()]
    (trace,) = [row for row in rows if isinstance(row, Trace)]
    assert (trace.chosen, trace.id) == (last, answer.request_id)
    assert trace.propensities == [one.propensity for one in answer.results]

    new = release_of(folder, "new", saved(folder, tmp_path / "new", version="v2", weights={"success_all": 50.0}))
    change_traffic(tmp_path / "traffic.json", lambda traffic: with_live(traffic, new))
    end = time.monotonic() + 30
    while served.rank("how far", explore="none").model_version != "v2":
        assert time.monotonic() < end, "not taken up"
        time.sleep(0.2)
    assert served.rank("how far", explore="none").results[0].id == "route"
