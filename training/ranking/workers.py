"""The network's training on Ray Train."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray.train

from training.ranking.config import LearnConfig
from training.ranking.driver import Train, keep_network, new_network
from training.ranking.experience import Experience
from training.ranking.task import CapabilityTask
from training.workers import CHECKPOINTS, fit_here, run_workers


def on_workers(read: Callable[[], Experience], on_row: Callable[[Mapping[str, float]], None]) -> Train:
    """What trains the network on Ray Train's workers; killed and started again, it goes on from the last checkpoint.

    Args:
        read: reads the experience, on each worker.
        on_row: called with what each epoch measured.
    """

    def train(experience: Experience, config: LearnConfig, out: Path, start: Path | None) -> None:
        settings = {
            "read": read,
            "config": config.model_dump(),
            "out": str(out.resolve()),
            "start": None if start is None else str(start.resolve()),
        }
        work = out.parent
        run_workers(learn_worker, settings, work, config.spread, config.optimizer.epochs, on_row)
        shutil.rmtree(work / CHECKPOINTS, ignore_errors=True)

    return train


def learn_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does; the first one writes the network."""
    config, out = LearnConfig(**settings["config"]), Path(settings["out"])
    experience: Experience = settings["read"]()
    start = None if settings["start"] is None else Path(settings["start"])
    network = new_network(experience, config, start)

    def make(rank: int, world: int) -> CapabilityTask:
        return CapabilityTask(network, experience, config, rank, world)

    # Weights of rounds that no incidence reaches, and the threshold where nothing has failed, have no gradient.
    progress = fit_here(make, config.optimizer, config.spread, out.parent, unused=True)
    if ray.train.get_context().get_world_rank() == 0:
        keep_network(network, experience, progress.figures(), out)
