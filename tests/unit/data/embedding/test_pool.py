"""The pool that a job gets, from what the run asks for and what the cluster has."""

import pytest

from data.embedding.config import EmbedConfig
from data.embedding.pool import plan_pool
from data.encoders.config import TransformerConfig
from data.errors import InputError
from data.spread import Pool, Resources


def planned(
    cluster: dict[str, float], device: str = "auto", partitions: int = 100, cores: int = 4, **config: object
) -> Pool:
    resources = Resources(cluster.get("CPU", 0), cluster.get("GPU", 0), cores)
    return plan_pool(TransformerConfig(device=device), EmbedConfig.model_validate(config), partitions, resources)


@pytest.mark.parametrize(
    ("cluster", "config", "pool"),
    [
        ({"CPU": 8}, {}, Pool(2, 2, 4, 0)),
        ({"CPU": 8}, {"cores_per_actor": 1}, Pool(8, 8, 1, 0)),
        ({"CPU": 8}, {"cores_per_actor": 16}, Pool(2, 2, 4, 0)),  # no machine has so many
        ({"CPU": 8}, {"cores_per_actor": 1, "min_actors": 2}, Pool(2, 8, 1, 0)),
        ({"CPU": 8}, {"actors": 50, "min_actors": 1}, Pool(1, 50, 4, 0)),  # more than there is room for: it may come
        ({"CPU": 8}, {"min_actors": 5}, Pool(5, 5, 4, 0)),
        ({"CPU": 8, "GPU": 2}, {}, Pool(2, 2, 1, 1.0)),
        ({"CPU": 8, "GPU": 2}, {"gpus_per_actor": 0.5}, Pool(4, 4, 1, 0.5)),
        ({"CPU": 8, "GPU": 1}, {"gpus_per_actor": 0.1}, Pool(10, 10, 1, 0.1)),
        ({"CPU": 8, "GPU": 2}, {"gpus_per_actor": 0}, Pool(2, 2, 4, 0)),
        ({"CPU": 8}, {"gpus_per_actor": 0.5}, Pool(1, 1, 1, 0.5)),  # a group at zero
        ({"CPU": 8}, {"gpus_per_actor": 0.5, "actors": 6, "min_actors": 2}, Pool(2, 6, 1, 0.5)),
    ],
)
def test_pool(cluster: dict[str, float], config: dict[str, object], pool: Pool) -> None:
    assert planned(cluster, **config) == pool


def test_the_device_decides_where_the_run_does_not() -> None:
    assert planned({"CPU": 8, "GPU": 2}, "cpu") == Pool(2, 2, 4, 0)
    assert planned({"CPU": 8}, "cuda") == Pool(1, 1, 1, 1.0)


def test_a_cluster_without_cores_yet() -> None:
    assert planned({}, cores=0) == Pool(1, 1, 1, 0)
    assert planned({}, cores=0, cores_per_actor=8, actors=3) == Pool(3, 3, 8, 0)


def test_never_more_actors_than_partitions() -> None:
    assert planned({"CPU": 64}, partitions=3, cores_per_actor=1) == Pool(3, 3, 1, 0)
    assert planned({"CPU": 64}, partitions=3, cores_per_actor=1, min_actors=5) == Pool(3, 3, 1, 0)


@pytest.mark.parametrize(("device", "share"), [("cpu", 0.5), ("cuda", 0), ("cuda:1", 0)])
def test_gpu_and_cpu_at_once_are_refused(device: str, share: float) -> None:
    with pytest.raises(InputError, match=r"embed\.gpus_per_actor"):
        planned({"CPU": 8, "GPU": 1}, device, gpus_per_actor=share)


def test_fewest_above_most_is_refused() -> None:
    with pytest.raises(ValueError, match="min_actors is at most actors"):
        EmbedConfig(actors=1, min_actors=2)


def test_how_the_work_is_spread_is_no_part_of_what_comes_out() -> None:
    assert EmbedConfig().identity() == {"storage": "float32"}
