"""Ray Train's side of a training: the workers, and the checkpoint each epoch leaves."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

CHECKPOINTS = "checkpoints"  # in the artifact's folder, as long as the training runs


class HasHistory(Protocol):
    """Progress of a training: its last row is what an epoch measured."""

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """One row for each epoch."""


def run_workers(
    worker: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    out: Path,
    workers: int,
    use_gpu: bool,
    max_failures: int,
) -> None:
    """Run a training's workers to their end; one that dies is replaced and goes on from the last epoch's checkpoint."""
    TorchTrainer(
        worker,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=str(out),
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            # OpenMP's threads wait by spinning, unless told: with other work on the machine's cores an epoch of small
            # batches took 40 times as long.
            worker_runtime_env={"env_vars": {"OMP_WAIT_POLICY": "PASSIVE"}},
        ),
    ).fit()


def share_cores() -> tuple[int, int]:
    """Take this worker's share of its machine's cores; returns its rank and the number of workers.

    Ray gives an actor one OpenMP thread; the workers of a machine share its cores instead.
    """
    context = ray.train.get_context()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    return context.get_world_rank(), context.get_world_size()


def report(progress: HasHistory, save: Callable[[Path], None]) -> None:
    """End an epoch: every worker reports, for Ray Train waits for all of them; rank 0 brings the checkpoint."""
    first = ray.train.get_context().get_world_rank() == 0
    with tempfile.TemporaryDirectory() as folder:
        if first:
            save(Path(folder))
        checkpoint = Checkpoint.from_directory(folder) if first else None
        ray.train.report(dict(progress.history[-1]), checkpoint=checkpoint)
