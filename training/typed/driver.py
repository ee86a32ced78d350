"""The training of typed links on Ray Train, by the frame of all trainings."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
from pydantic import BaseModel

from data.graph.graph import load_graph
from evaluation.triples import triple_questions
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.frame import fit
from training.tracking import Tracker
from training.typed.config import TypedConfig
from training.typed.model import TypedModel, load_model, save_model
from training.typed.scoring import STACK, WEIGHTS, TypedScorer
from training.typed.stack import fit_stack
from training.typed.task import TypedTask, check_triples
from training.workers import CHECKPOINTS, fit_here, run_workers


class TypedTraining(BaseModel):
    """What a training of typed links is told."""

    typed: TypedConfig
    optimizer: OptimizerConfig
    spread: SpreadConfig
    tracking: TrackingConfig

    @classmethod
    def of(cls, train: BaseModel) -> "TypedTraining":
        """Those parts of the section ``train`` of a run."""
        return cls(**{name: getattr(train, name) for name in cls.model_fields})


def train_typed(graph: Path, config: TypedTraining, run_name: str, default_store: Path, out: Path) -> dict[str, Any]:
    """Train the model of typed links; the train stage where ``train.task`` is ``typed``.

    Killed and started again with the same ``out``, it goes on from the last checkpoint.

    Args:
        graph: output folder of the graph stage.
        config: model, optimiser, workers, tracking.
        run_name: name of the run in MLflow.
        default_store: SQLite file that MLflow writes where the config names no store.
        out: receives ``model.safetensors``, ``stack.json``, ``model.json`` and ``node_vectors.npy``; every worker must
            be able to write it.

    Returns:
        ``history`` by epoch, ``epochs``, ``best_epoch``, ``valid_mrr``, ``parameters``, and the MLflow run's id, empty
        where MLflow could not be written.

    Raises:
        InputError: if there is nothing to train on or to judge by, or text vectors are asked for and there are none.
    """
    opened = load_graph(graph)
    check_triples(opened, config.typed)
    settings = {"graph": str(graph), "config": config.model_dump(), "out": str(out)}
    tracker = Tracker(config.tracking, default_store, run_name, config, out)
    run_workers(train_worker, settings, out, config.spread, config.optimizer.epochs, tracker.row)
    result: dict[str, Any] = json.loads((out / "model.json").read_text())
    model = load_model(out / WEIGHTS)
    scorer = TypedScorer(model, opened.vectors)
    np.save(out / "node_vectors.npy", scorer.node_vectors)
    if config.typed.cases and opened.vectors.shape[1]:
        fit_stack(scorer.features(opened), triple_questions(opened, "valid"), config.optimizer.seed).save(out / STACK)
    result["parameters"] = sum(weights.numel() for weights in model.parameters())
    result["mlflow_run"] = tracker.end({"best_valid_mrr": result["valid_mrr"]}, sorted(out.glob("*.safetensors")))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return result


def train_trial(graph: Path, train: BaseModel, on_row: Callable[[Mapping[str, float]], None]) -> None:
    """One trial of a search: a training that leaves nothing but what its epochs measured.

    One worker trains in this process; several are started by it.

    Args:
        graph: output folder of the graph stage.
        train: the section ``train`` of the trial.
        on_row: called with each epoch's figures.
    """
    config = TypedTraining.of(train)
    if config.spread.workers == 1:
        task = TypedTask(load_graph(graph), config.typed, config.optimizer.seed)
        fit(task, config.optimizer, on_epoch=lambda progress, save: on_row(progress.history[-1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = {"graph": str(graph), "config": config.model_dump(), "out": folder}
        run_workers(train_worker, settings, Path(folder), config.spread, config.optimizer.epochs, on_row)


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; the first one writes the model."""
    config, out = TypedTraining(**settings["config"]), Path(settings["out"])
    graph = load_graph(Path(settings["graph"]))
    tasks: list[TypedTask] = []

    def task(rank: int, world: int) -> TypedTask:
        tasks.append(TypedTask(graph, config.typed, config.optimizer.seed, rank, world))
        return tasks[0]

    progress = fit_here(task, config.optimizer, config.spread, out)
    if ray.train.get_context().get_world_rank() == 0:
        model = tasks[0].model
        assert isinstance(model, TypedModel)
        save_model(model, out / WEIGHTS)
        (out / "model.json").write_text(json.dumps(progress.figures(), indent=2))
