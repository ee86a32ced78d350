"""Replicas by the work before them."""

from dataclasses import dataclass, field

import pytest
from ray.serve.config import AutoscalingConfig

from serving.scaling import BATCHES, replicas_for_work, scaling


@dataclass
class Deployment:
    """Two replicas and their figures."""

    aggregated_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    current_num_replicas: int = 2


@pytest.mark.parametrize(("batches", "wanted"), [((2.0, 2.0), 2), ((6.0, 2.0), 4), ((0.5, 0.5), 0.5), ((0.0, 0.0), 0)])
def test_replicas_follow_the_work(batches: tuple[float, float], wanted: float) -> None:
    deployment = Deployment({BATCHES: dict(zip(("one", "two"), batches, strict=True))})
    assert replicas_for_work(deployment) == (wanted, {})


def test_nothing_known_changes_nothing() -> None:
    assert replicas_for_work(Deployment()) == (2, {})


def test_serve_takes_the_configuration() -> None:
    config = AutoscalingConfig(**scaling(1, 4))
    assert (config.min_replicas, config.max_replicas) == (1, 4)
    assert config.policy.get_policy().__name__ == replicas_for_work.__name__
