"""The training of links on Ray: states on Ray Train, then scorers of pairs, on links that the states have not seen."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray
import torch

from data.graph.graph import GraphArtifact, load_graph
from data.progress import progress as counting
from data.spread import on_ray
from training.frame import fit
from training.links.config import TrainConfig
from training.links.nodes import load_model, save_model
from training.links.scorer import Lists
from training.links.scoring import RELATIONS, save_relations
from training.links.stacking import SCORERS, choose, hidden_parts, join, make_lists, valid_pairs
from training.links.states import NODE_VECTORS, states_over
from training.links.task import LinkTask, training_pairs
from training.tracking import Tracker
from training.typed.relations import fit_relations
from training.workers import CHECKPOINTS, PASSIVE, fit_here, run_workers

logger = logging.getLogger("catena")

Parts = Sequence[tuple[np.ndarray, int]]  # which training links are held out, and a seed


def train_links(graph: Path, config: TrainConfig, run_name: str, default_store: Path, out: Path) -> dict[str, Any]:
    """Train the link model and the scorers that it is compared with; the train stage.

    Killed and started again with the same ``out``, it goes on from the last checkpoint.

    Args:
        graph: output folder of the graph stage.
        config: model, scorer, optimiser, workers.
        run_name: name of the run in MLflow.
        default_store: SQLite file that MLflow writes where the config names no store.
        out: receives ``model.safetensors``, ``node_vectors.npy`` and a ``.scorer.safetensors`` for each of ``SCORERS``;
            every worker must be able to write it.

    Returns:
        ``history`` by epoch, ``epochs``, ``best_epoch``, ``valid_mrr`` of the states alone, ``parameters``, ``scorers``
        (what was chosen, and the MRR of each choice in lists of validation links), and the MLflow run's id, empty where
        MLflow could not be written.
    """
    tracker = Tracker(config.tracking, default_store, run_name, config, out)
    settings = {"graph": str(graph), "config": config.model_dump(), "out": str(out)}
    run_workers(train_worker, settings, out, config.spread, config.optimizer.epochs, tracker.row)
    result: dict[str, Any] = json.loads((out / "model.json").read_text())
    if pq.read_metadata(graph / "links.parquet").num_rows >= config.sampling.from_links:
        # In a process of its own: this one's memory is not to grow with the graph.
        work = ray.remote(
            num_cpus=on_ray.resources().machine_cores,
            max_retries=config.spread.max_failures,
            runtime_env={"env_vars": PASSIVE},
        )(finish)
        result |= ray.get(work.remote(graph, config, out))
    else:
        result |= finish(graph, config, out)
    figures = {"best_valid_mrr": result["valid_mrr"]}
    result["mlflow_run"] = tracker.end(figures, sorted(out.glob("*.safetensors")))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return result


def finish(graph: Path, config: TrainConfig, out: Path) -> dict[str, Any]:
    """What follows the training of states: states of all documents, scorers of pairs, the head of relations.

    Returns:
        ``scorers`` and ``parameters``, as of ``train_links``.
    """
    opened, model = load_graph(graph), load_model(out / "model.safetensors")
    states = states_over(model, opened, opened.seen_graph, out / NODE_VECTORS)
    scorers = fit_scorers(graph, opened, config, states, out)
    if len(opened.relation_names) > 1:
        _fit_relations(opened, states, config, out)
    return {"scorers": scorers, "parameters": sum(weights.numel() for weights in model.parameters())}


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; rank 0 writes the model."""
    config, out = TrainConfig(**settings["config"]), Path(settings["out"])
    graph = load_graph(Path(settings["graph"]))
    tasks: list[LinkTask] = []

    def make(rank: int, world: int) -> LinkTask:
        tasks.append(LinkTask(graph, config, rank, world))
        return tasks[0]

    progress = fit_here(make, config.optimizer, config.spread, out)
    if tasks[0].rank == 0:
        save_model(tasks[0].model, out / "model.safetensors")
        (out / "model.json").write_text(json.dumps(progress.figures(), indent=2))


def train_trial(graph: Path, config: TrainConfig, on_row: Callable[[Mapping[str, float]], None]) -> None:
    """One trial of a search: a training of states that leaves nothing but what its epochs measured.

    One worker trains in this process; several are started by it.

    Args:
        graph: output folder of the graph stage.
        config: of the trial.
        on_row: called with each epoch's figures and their ``score``, the validation MRR.
    """
    if config.spread.workers == 1:
        fit(
            LinkTask(load_graph(graph), config),
            config.optimizer,
            on_epoch=lambda progress, save: on_row(progress.history[-1]),
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = {"graph": str(graph), "config": config.model_dump(), "out": folder}
        run_workers(train_worker, settings, Path(folder), config.spread, config.optimizer.epochs, on_row)


def fit_scorers(path: Path, graph: GraphArtifact, config: TrainConfig, states: np.ndarray, out: Path) -> dict[str, Any]:
    """Fit each of ``SCORERS`` on links that the states have not seen, and write it.

    Parts of the training links that are held out are worked on by the cluster, each on one core.

    Returns:
        By scorer, ``chosen`` and ``valid_mrr`` by choice.
    """
    work = ray.remote(num_cpus=1, max_retries=config.spread.max_failures)(hidden_lists)

    def on_cluster(parts: Parts) -> list[Lists]:
        asked = [work.remote(path, config, *part) for part in parts]
        made: dict[ray.ObjectRef, Lists] = {}
        with counting("train: models for the scorer", len(parts), "models") as counted:
            while len(made) < len(asked):
                (done,), _ = ray.wait([one for one in asked if one not in made])
                made[done] = ray.get(done)
                counted.advance()
        return [made[one] for one in asked]

    every = held_out_lists(graph, config, states, on_cluster)
    chosen: dict[str, Any] = {}
    for name, features in SCORERS.items():
        if name == "no_states" and not config.ablation:
            continue
        scorer, figures, best = choose(every, features, config.scorer, config.optimizer.seed)
        scorer.save(out / f"{name}.scorer.safetensors")
        chosen[name] = {"chosen": best, "valid_mrr": {choice: round(mrr, 5) for choice, mrr in figures.items()}}
        logger.info("train: scorer of %s: %s (MRR %.4f in lists of held-out links)", name, best, figures[best])
    return chosen


def held_out_lists(
    graph: GraphArtifact, config: TrainConfig, states: np.ndarray, lists_of: Callable[[Parts], list[Lists]]
) -> Lists:
    """Lists of links that the states have not seen: validation links, and parts of the training links where few.

    Args:
        graph: documents and split links.
        config: of the training and the scorer.
        states: float32 (N, W), of all training links.
        lists_of: calls ``hidden_lists`` for each part.
    """
    seed, links = config.optimizer.seed, valid_pairs(graph)
    hidden = hidden_parts(len(training_pairs(graph)[0]), len(links[0]), config.scorer, seed)
    lists = []
    if len(links[0]):
        lists.append(make_lists(graph, graph.seen_graph, states, links, config.scorer, seed, True))
    if hidden:
        logger.info(
            "train: %d validation links are few: %d parts of the training links are held out in turn",
            len(links[0]),
            len(hidden),
        )
        lists += lists_of([(part, seed + number) for number, part in enumerate(hidden, 1)])
    return join(lists)


def hidden_lists(path: Path, config: TrainConfig, hidden: np.ndarray, seed: int) -> Lists:
    """Lists of a part of the training links, from a graph and states that do not know them."""
    torch.set_num_threads(1)
    graph = load_graph(path)
    task = LinkTask(graph, config, hidden=hidden)
    fit(task, config.optimizer)
    sources, targets, _ = training_pairs(graph)
    return make_lists(graph, task.graph, task.states(), (sources[hidden], targets[hidden]), config.scorer, seed, False)


def _fit_relations(graph: GraphArtifact, states: np.ndarray, config: TrainConfig, out: Path) -> None:
    triples = graph.triples("train")
    triples = triples[triples[:, 0] != triples[:, 2]]
    relations = len(graph.relation_names)
    weights = fit_relations(states, triples[:, [0, 2]], triples[:, 1], relations, config.optimizer.seed)
    save_relations(weights, out / RELATIONS)
