"""A search over the points task; as a script it runs on a cluster that is there: ``FOLDER ADDRESS TRIALS``."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from data.artifacts import StageConfig
from tests.point_task import PointTask
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.frame import Progress, Save, fit
from training.tune import search
from training.tune_config import Choice, Range, TuneConfig
from training.tune_trials import TrialRuns


class PointsConfig(StageConfig):
    """A training in nested sections."""

    optimizer: OptimizerConfig = OptimizerConfig(epochs=4, learning_rate=1e-4)
    steps: int = 8
    pause_s: float = 0.0


TUNING = TuneConfig(
    space={
        "optimizer.learning_rate": Range(low=1e-5, high=3e-2, log=True),
        "optimizer.accumulate": Range(low=1, high=4),
        "optimizer.schedule": Choice(choice=("cosine", "constant")),
    },
    trials=8,
)


def train(config: PointsConfig, on_row: Callable[[Mapping[str, float]], None]) -> None:
    """One trial."""

    def told(progress: Progress, save: Save) -> None:
        time.sleep(config.pause_s)
        on_row(progress.history[-1])

    fit(PointTask(steps=config.steps), config.optimizer, on_epoch=told)


def run(out: Path, config: PointsConfig, store: Path) -> TrialRuns:
    """The search with its runs in MLflow."""
    runs = TrialRuns(TrackingConfig(), store, "points", config, TUNING, out)
    study = search(train, config, TUNING, SpreadConfig(), config.optimizer.epochs, out, runs)
    runs.close({"best": study.best_value}, [])
    return runs


if __name__ == "__main__":
    import ray

    ray.init(address=sys.argv[2], log_to_driver=False)
    run(Path(sys.argv[1]), PointsConfig(pause_s=0.3), Path(sys.argv[1]).parent / "mlflow.db")
