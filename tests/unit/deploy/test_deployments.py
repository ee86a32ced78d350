"""What the deployments of an application book, and how they are replaced."""

from pathlib import Path
from typing import Any

import pytest
from ray.serve import Deployment

from data.encoders.config import read_encoder
from serving.app import Service, build, cores, gpus
from serving.config import ServeConfig
from serving.deployments import check_work
from serving.traffic import Release, change_traffic, with_live
from tests.unit.retrieval.test_build import build as build_index
from tests.unit.retrieval.test_build import write_run


def deployments(folder: Path, **serve: Any) -> dict[str, Deployment]:  # noqa: ANN401 - keys of ServeConfig
    """The deployments of a service by name, bound and not started."""
    root = write_run(folder / "run", dim=16)
    build_index(root)
    encoder = read_encoder({"hashed": {"dim": 16}})
    release = Release(id="one", index=root / "out", lookup=folder, encoder=encoder, passages=18)
    change_traffic(folder / "traffic.json", lambda before: with_live(before, release))
    service = Service(traffic=folder / "traffic.json", journals=folder, serve=ServeConfig(**serve))
    bound, found = [build(service)], {}
    while bound:
        application = bound.pop()
        found[application._bound_deployment.name] = application._bound_deployment
        bound += [one for one in application._bound_deployment.init_args if hasattr(one, "_bound_deployment")]
    return found


@pytest.mark.parametrize(
    ("serve", "names", "encodes"),
    [
        ({}, {"Ingress"}, "Ingress"),
        ({"replicas": 2}, {"Ingress", "IndexActor"}, "Ingress"),
        ({"layout": "spread", "replicas": 2}, {"Ingress", "Embedder", "IndexActor"}, "Embedder"),
        ({"layout": "spread", "ranker": "some/cross"}, {"Ingress", "Embedder", "IndexActor", "Ranker"}, "Embedder"),
        ({"models": {"cross": {"ranker": "some/cross"}}}, {"Ingress"}, "Ingress"),
    ],
)
def test_what_encodes_books_the_gpus_and_every_upgrade_starts_the_new_first(
    tmp_path: Path, serve: dict[str, Any], names: set[str], encodes: str
) -> None:
    found = deployments(tmp_path, gpus_per_replica=0.5, **serve)
    assert found.keys() == names
    assert {name for name, one in found.items() if one.ray_actor_options.get("num_gpus") == 0.5} == {encodes}
    assert {one._deployment_config.max_surge_percent for one in found.values()} == {100}
    booked = sum(one.num_replicas * one.ray_actor_options["num_cpus"] for one in found.values())
    assert booked == pytest.approx(cores(ServeConfig(**serve)))


def test_copies_grow_where_that_is_asked_for(tmp_path: Path) -> None:
    found = deployments(tmp_path, most_replicas=3)
    assert set(found) == {"Ingress", "IndexActor"}  # several copies: the embedded index has a process of its own
    grows = found["Ingress"]._deployment_config.autoscaling_config
    assert grows is not None and (grows.min_replicas, grows.max_replicas) == (1, 3)


def test_what_ranks_has_replicas_and_gpus_of_its_own(tmp_path: Path) -> None:
    serve = {"layout": "spread", "models": {"cross": {"ranker": "some/cross"}}}
    serve |= {"ranker_replicas": 3, "gpus_per_ranker": 0.25, "replicas": 2, "gpus_per_replica": 1.0}
    found = deployments(tmp_path, **serve)
    booked = {name: one.num_replicas * one.ray_actor_options.get("num_gpus", 0) for name, one in found.items()}
    assert booked == {"Ranker": 0.75, "Embedder": 2.0, "Ingress": 0, "IndexActor": 0}
    config = ServeConfig.model_validate(serve)
    assert gpus(config) == 2.75
    assert sum(one.num_replicas * one.ray_actor_options["num_cpus"] for one in found.values()) == pytest.approx(
        cores(config)
    )


def test_no_gpu_is_booked_unasked(tmp_path: Path) -> None:
    assert all("num_gpus" not in one.ray_actor_options for one in deployments(tmp_path).values())


def test_a_replica_is_replaced_only_where_a_batch_takes_too_long() -> None:
    check_work([], 1.0)
    check_work([0.0, 0.9], 1.0)
    with pytest.raises(RuntimeError, match="worked on for 2 s, more than serve"):
        check_work([0.0, 2.0], 1.0)
