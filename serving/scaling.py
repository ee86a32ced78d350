"""How many replicas there should be, by the work that each has before it.

Ray Serve asks replicas for figures and a policy for the number; delays and bounds are its own. By default it counts
requests, of which one may have a word or two thousand texts.
"""

from collections.abc import Mapping
from typing import Any, Protocol

BATCHES = "batches"  # of work that a replica has, those that are worked on among them, for each of its threads
TARGET = 2.0  # one that is worked on, and one that waits
LOOK_BACK_S, UP_AFTER_S, DOWN_AFTER_S = 20.0, 10.0, 300.0


class Scaled(Protocol):
    """What is known of a deployment, as Ray Serve's ``AutoscalingContext`` has it."""

    @property
    def current_num_replicas(self) -> int:
        """Replicas that there are."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]]:
        """Mean of each figure of late, by replica."""


def replicas_for_work(deployment: Scaled) -> tuple[float, dict[str, Any]]:
    """A policy of Ray Serve: as many replicas as leave each ``TARGET`` batches of work.

    Returns:
        replicas, and nothing to be remembered.
    """
    batches = deployment.aggregated_metrics.get(BATCHES, {}).values()
    if not batches:
        return deployment.current_num_replicas, {}
    return deployment.current_num_replicas * sum(batches) / len(batches) / TARGET, {}


def scaling(least: int, most: int) -> dict[str, Any]:
    """Ray Serve's ``autoscaling_config`` from so many replicas to so many."""
    return {
        "min_replicas": least,
        "max_replicas": most,
        "initial_replicas": least,
        "look_back_period_s": LOOK_BACK_S,
        "upscale_delay_s": UP_AFTER_S,
        "downscale_delay_s": DOWN_AFTER_S,
        "policy": {"policy_function": "serving.scaling:replicas_for_work"},
    }
