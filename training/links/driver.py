"""The training loop on Ray Train: one worker or several, each death survived from the last epoch's checkpoint."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
from ray.train.torch import get_device, prepare_model

from data.graph.graph import load_graph
from training.links.config import TrainConfig
from training.links.features import FEATURES, STRUCTURE
from training.links.loop import Progress, fit
from training.links.model import load_model, save_model
from training.links.scoring import LinkScorer
from training.tracking import Tracker
from training.workers import CHECKPOINTS, EPOCHS, run_workers, share_cores


def train_links(graph: Path, config: TrainConfig, run_name: str, default_store: Path, out: Path) -> dict[str, Any]:
    """Train the link model; the train stage.

    Killed and started again with the same ``out``, it goes on from the last epoch.

    Args:
        graph: output folder of the graph stage.
        config: model, loss, optimiser, workers.
        run_name: name of the run in MLflow.
        default_store: SQLite file that MLflow writes where the config names no store.
        out: receives ``model.safetensors``, ``model.json`` and ``node_vectors.npy``; every worker must be able to write
            it.

    Returns:
        ``history`` by epoch, ``epochs``, ``best_epoch``, ``valid_mrr``, ``parameters``, and the MLflow run's id, empty
        where MLflow could not be written.
    """
    settings = {"graph": str(graph), "config": config.model_dump(), "out": str(out)}
    tracker = Tracker(config.tracking, default_store, run_name, config, out)
    run_workers(train_worker, settings, out, config.spread, config.epochs, tracker.row)
    result: dict[str, Any] = json.loads((out / "model.json").read_text())
    model = load_model(out / "model.safetensors")
    opened = load_graph(graph)
    np.save(
        out / "node_vectors.npy", LinkScorer(model, opened.training_graph, opened.vectors, opened.words).node_vectors
    )
    result["parameters"] = sum(weights.numel() for weights in model.parameters())
    result["mlflow_run"] = tracker.end({"best_valid_mrr": result["valid_mrr"]}, sorted(out.glob("*.safetensors")))
    shutil.rmtree(out / CHECKPOINTS)
    return result


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; rank 0 writes the model."""
    rank, world = share_cores()
    config, out = TrainConfig(**settings["config"]), Path(settings["out"])
    graph = load_graph(Path(settings["graph"]))
    saved = ray.train.get_checkpoint()
    with saved.as_directory() if saved else tempfile.TemporaryDirectory() as folder:
        model, progress = fit(
            graph,
            config,
            resume=Path(folder) if saved else None,
            on_epoch=partial(_report, out=out),
            wrap=prepare_model,
            device=get_device(),
            rank=rank,
            world=world,
        )
    if rank == 0:
        save_model(model, out / "model.safetensors")
        (out / "model.json").write_text(json.dumps(_figures(progress), indent=2))


def _report(progress: Progress, save: Callable[[Path], None], out: Path) -> None:
    """End an epoch: every worker reports; the first saves the checkpoint."""
    first = ray.train.get_context().get_world_rank() == 0
    row = dict(progress.history[-1])
    with tempfile.TemporaryDirectory() as folder:
        if first:
            save(Path(folder))
        ray.train.report(row, checkpoint=ray.train.Checkpoint.from_directory(folder) if first else None)
    if first:
        with (out / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def train_trial(graph: Path, config: TrainConfig, on_row: Callable[[Mapping[str, float]], None]) -> None:
    """One trial of a search: a training that leaves nothing but what its epochs measured.

    One worker trains in this process; several are started by it.

    Args:
        graph: output folder of the graph stage.
        config: of the trial.
        on_row: called with each epoch's figures and their ``score``, the validation MRR.
    """

    def scored(row: Mapping[str, float]) -> None:
        on_row({"score": row["valid_mrr"], **row})

    if config.workers == 1:
        fit(load_graph(graph), config, on_epoch=lambda progress, save: scored(progress.history[-1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = {"graph": str(graph), "config": config.model_dump(), "out": folder}
        run_workers(train_worker, settings, Path(folder), config.spread, config.epochs, scored)


def train_baselines(graph: Path, config: TrainConfig, out: Path) -> dict[str, Any]:
    """Train the networks that the link model is compared with: the stage ``baselines``.

    Both run side by side on the cluster, each on one worker; a network over pair features needs no more.

    Args:
        graph: output folder of the graph stage.
        config: that of the link model: optimiser, epochs, seed.
        out: receives ``mlp.safetensors`` (features of neighbourhoods alone) and, if the config asks for the ablation,
            ``no_views.safetensors`` (every feature, no learned views).

    Returns:
        By name, ``mlp`` and ``no_views``: ``history`` by epoch, ``epochs``, ``best_epoch``, ``valid_mrr``.
    """
    names = ("mlp", "no_views") if config.ablation else ("mlp",)
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)) // len(names))
    work = ray.remote(num_cpus=cores, max_retries=config.max_failures)(train_baseline)
    done = ray.get([work.remote(graph, config, name, cores, out / f"{name}.safetensors") for name in names])
    return dict(zip(names, done, strict=True))


def train_baseline(graph: Path, config: TrainConfig, name: str, cores: int, out: Path) -> dict[str, Any]:
    """Train one network over pair features, write it to ``out``, and return its figures."""
    torch.set_num_threads(cores)
    features = STRUCTURE if name == "mlp" else FEATURES
    model, progress = fit(load_graph(graph), config, views=False, features=features)
    save_model(model, out)
    return _figures(progress)


def _figures(progress: Progress) -> dict[str, Any]:
    return {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "valid_mrr": progress.best_mrr,
        "history": progress.history,
    }
