"""Train the link model, and the scorers that it is compared with."""

import sys
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from data.artifacts import StageConfig, StageResult
from ray_apps.command import stage_command
from ray_apps.graph import no_links
from ray_apps.plan import Inputs, Plan, Stage
from training.links.config import TrainConfig

History = list[dict[str, float]]


class ModelConfig(StageConfig):
    """What decides the link model; its name and store in MLflow do not."""

    execution: ClassVar[frozenset[str]] = frozenset({"run_name", "store"})

    train: TrainConfig
    run_name: str
    store: Path


class FitResult(StageResult):
    """How a training went: figures of each epoch, which one was kept, and its validation MRR."""

    epochs: int
    best_epoch: int
    valid_mrr: float
    history: History


class ChosenScorer(StageResult):
    """Which scorer of pairs was the best on validation links, and the MRR of each choice there."""

    chosen: str
    valid_mrr: dict[str, float]


class TrainResult(FitResult):
    """How the link model's training went, its size, its scorers of pairs, and its run in MLflow."""

    parameters: int
    mlflow_run: str
    scorers: dict[str, ChosenScorer] = Field(default_factory=dict)


def _stamps(config: StageConfig) -> dict[str, Any]:
    """The pair features: weights and checkpoints of one set of them do not fit another."""
    from training.links.features import FEATURES

    return {"features": FEATURES}


def _train(config: ModelConfig, inputs: Inputs, out: Path) -> TrainResult:
    if config.train.task == "typed":
        from training.typed.driver import TypedTraining, train_typed

        asked = TypedTraining.of(config.train)
        typed = train_typed(inputs["graph"].path, asked, config.run_name, config.store, out)
        return TrainResult.model_validate(typed)
    from training.links.driver import train_links

    made = train_links(inputs["graph"].path, config.train, config.run_name, config.store, out)
    return TrainResult.model_validate(made)


def _model_config(plan: Plan) -> ModelConfig:
    store = plan.run.workspace.resolve() / "mlflow.db"
    return ModelConfig(train=plan.run.train, run_name=plan.run.name, store=store)


TRAIN = Stage(
    name="train",
    result=TrainResult,
    config=_model_config,
    make=_train,
    needs=lambda plan: {"graph": "graph"},
    absent=no_links,
    stamps=_stamps,
    on_ray=True,
    version=3,
)
COMMAND = stage_command(
    "train",
    "train",
    "links to a graph, and a link model on it, on Ray Train",
    sections=("source", "steps", "encoder", "embed", "graph", "train"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
