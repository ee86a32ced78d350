"""A training on sampled batches; as a script it runs on a cluster that is there: ``GRAPH OUT ADDRESS``."""

import sys
from pathlib import Path
from typing import Any

from training.config import OptimizerConfig
from training.links.config import NodesConfig, SamplingConfig, ScorerConfig, TrainConfig
from training.links.driver import train_links

SAMPLED = TrainConfig(
    model=NodesConfig(width=16, words=8),
    sampling=SamplingConfig(from_links=0, neighbours=(4, 2)),
    scorer=ScorerConfig(units=0, members=1, links=60, folds=0, shortlist=20, random=30, epochs=4),
    optimizer=OptimizerConfig(epochs=20, patience=20, learning_rate=0.01),
    batch_links=64,
)


def train(graph: Path, out: Path) -> dict[str, Any]:
    """Train it, on the cluster that this process is connected to."""
    return train_links(graph, SAMPLED, "sampled", out.parent / "mlflow.db", out)


if __name__ == "__main__":
    import ray

    ray.init(address=sys.argv[3], log_to_driver=False)
    train(Path(sys.argv[1]), Path(sys.argv[2]))
