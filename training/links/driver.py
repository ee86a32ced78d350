"""The training loop on Ray Train: one worker or several, each death survived from the last epoch's checkpoint."""

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
from ray.train.torch import get_device, prepare_model

from data.errors import InputError
from data.graph.graph import SPLITS, load_graph
from training.checkpoint import load_model, save_model
from training.links.config import TrainConfig
from training.links.features import STRUCTURE
from training.links.loop import Progress, fit
from training.links.scoring import LinkScorer
from training.tracking import track
from training.workers import CHECKPOINTS, report, run_workers, share_cores


def train_links(graph: Path, config: TrainConfig, run_name: str, default_store: Path, out: Path) -> dict[str, Any]:
    """Train the link model, the feature-only baseline and, if asked for, the ablation; the train stage.

    Killed and started again with the same ``out``, it goes on from the last epoch.

    Args:
        graph: output folder of the graph stage.
        config: model, loss, optimiser, workers.
        run_name: name of the run in MLflow.
        default_store: SQLite file that MLflow writes where the config names no store.
        out: receives ``model.safetensors``, ``mlp.safetensors`` (the baseline), ``no_views.safetensors`` (the ablation,
            if asked for), ``model.json`` and ``node_vectors.npy``; every worker must be able to write it.

    Returns:
        ``history`` by epoch, ``best_epoch``, ``valid_mrr``, ``parameters``, the same of the ``baseline`` and of the
        ``ablation``, the MLflow run.

    Raises:
        InputError: if the graph has too few links to train on and to validate with.
    """
    _check_links(graph)
    settings = {"graph": str(graph), "config": config.model_dump(), "out": str(out)}
    run_workers(train_worker, settings, out, config.workers, config.use_gpu, config.max_failures)
    result: dict[str, Any] = json.loads((out / "model.json").read_text())
    model = load_model(out / "model.safetensors")
    opened = load_graph(graph)
    np.save(
        out / "node_vectors.npy", LinkScorer(model, opened.training_graph, opened.vectors, opened.words).node_vectors
    )
    result["parameters"] = sum(weights.numel() for weights in model.parameters())
    result["mlflow_run"] = track(config, run_name, default_store, result, out)
    shutil.rmtree(out / CHECKPOINTS)
    return result


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; rank 0 trains the baseline too and writes all."""
    rank, world = share_cores()
    config, out = TrainConfig(**settings["config"]), Path(settings["out"])
    graph = load_graph(Path(settings["graph"]))

    saved = ray.train.get_checkpoint()
    with saved.as_directory() if saved else tempfile.TemporaryDirectory() as folder:
        model, progress = fit(
            graph,
            config,
            resume=Path(folder) if saved else None,
            on_epoch=partial(report, out=out),
            wrap=prepare_model,
            device=get_device(),
            rank=rank,
            world=world,
        )
    if rank == 0:
        figures = _figures(progress)
        save_model(model, out / "model.safetensors")
        baseline, progress = fit(graph, config, views=False, features=STRUCTURE)
        save_model(baseline, out / "mlp.safetensors")
        figures["baseline"] = _figures(progress)
        if config.ablation:
            ablated, progress = fit(graph, config, views=False)
            save_model(ablated, out / "no_views.safetensors")
            figures["ablation"] = _figures(progress)
        (out / "model.json").write_text(json.dumps(figures, indent=2))


def _figures(progress: Progress) -> dict[str, Any]:
    return {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "valid_mrr": progress.best_mrr,
        "history": progress.history,
    }


def _check_links(graph: Path) -> None:
    """Refuse a graph with too few links, in the user's words."""
    opened = load_graph(graph)
    counts = {split: len(opened.links(split)[0]) for split in SPLITS}
    if min(counts.values()) == 0:
        raise InputError(
            f"training needs known links in every split; this corpus has {counts}",
            "Give the source more links (a links file beside the documents); search works without any.",
        )
