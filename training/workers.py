"""Ray Train's side of a training: the workers, the checkpoint of each epoch, and the lines of the log."""

import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from data.progress import Progress, progress

logger = logging.getLogger("catena")

CHECKPOINTS = "checkpoints"  # in the artifact's folder, as long as the training runs
EPOCHS = "epochs.jsonl"  # likewise: what each epoch measured, written by rank 0
LOOK_EVERY_S = 1.0


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
    """Run a training's workers to their end; one that dies is replaced and continues from the last epoch's checkpoint.

    What each epoch measured is logged as it ends.
    """
    trainer = TorchTrainer(
        worker,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=str(out),
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            # OpenMP's threads wait by spinning by default: with other work on the machine's cores an epoch of small
            # batches took 40 times as long.
            worker_runtime_env={"env_vars": {"OMP_WAIT_POLICY": "PASSIVE"}},
        ),
    )
    with progress("train", settings["config"]["epochs"], "epochs") as counted, _reported(out, counted):
        trainer.fit()


@contextmanager
def _reported(out: Path, counted: Progress) -> Iterator[None]:
    """Log and count the epochs that workers write down; the workers' own logs stay in Ray's session folder."""
    path, over, known = out / EPOCHS, threading.Event(), 0
    path.unlink(missing_ok=True)

    def look() -> None:
        nonlocal known
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        for line in lines[known:]:
            row = json.loads(line)
            logger.info("train: %s", ", ".join(f"{name} {value:g}" for name, value in row.items()))
            counted.advance()
        known = len(lines)

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()
        path.unlink(missing_ok=True)


def share_cores() -> tuple[int, int]:
    """Take this worker's share of its machine's cores; returns its rank and the number of workers.

    Ray gives an actor one OpenMP thread; the workers of a machine share its cores instead.
    """
    context = ray.train.get_context()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    return context.get_world_rank(), context.get_world_size()


def report(progress: HasHistory, save: Callable[[Path], None], out: Path) -> None:
    """End an epoch: every worker reports, since Ray Train waits for all of them; rank 0 saves the checkpoint.

    Args:
        progress: the state of the training.
        save: writes its state into a folder.
        out: the artifact's folder.
    """
    first = ray.train.get_context().get_world_rank() == 0
    row = dict(progress.history[-1])
    with tempfile.TemporaryDirectory() as folder:
        if first:
            save(Path(folder))
        checkpoint = Checkpoint.from_directory(folder) if first else None
        ray.train.report(row, checkpoint=checkpoint)
    if first:
        with (out / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
