"""Ray Train's side of a training: the workers, their checkpoints, and the lines of the log."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, CheckpointUploadMode, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from data.errors import InputError
from data.progress import Progress as Counted
from data.progress import progress as counting
from training.checkpoint import keep_checkpoint
from training.config import OptimizerConfig, SpreadConfig
from training.frame import fit
from training.spreading import spreading
from training.task import Batch, Progress, Save, Task

logger = logging.getLogger("catena")

CHECKPOINTS = "checkpoints"  # in the artifact's folder, as long as the training runs
EPOCHS = "epochs.jsonl"  # likewise: what each epoch measured, written by the first worker
STOPPED = "stopped.json"  # likewise: why a training cannot go on, where the user can correct it
LOOK_EVERY_S = 1.0
# OpenMP's threads wait by spinning by default: with other work on the machine's cores an epoch of small batches took 40
# times as long.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
# Ray Train takes in what workers report as often as it looks at their health, every two seconds by default: epochs of
# small graphs take a tenth of that, and waited for it.
LOOK_AT_WORKERS = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"

Row = Mapping[str, float]
Settings = dict[str, Any]


def run_workers(
    worker: Callable[[Settings], None],
    settings: Settings,
    out: Path,
    spread: SpreadConfig,
    epochs: int,
    on_row: Callable[[Row], None] = lambda row: None,
) -> None:
    """Run a training's workers to their end; one that dies is replaced, and all continue from the last checkpoint.

    What each epoch measured is logged as it ends.

    Args:
        worker: called on each with the settings.
        settings: plain values.
        out: the artifact's folder, which every worker must be able to write.
        spread: how many workers, and how many deaths are survived.
        epochs: most of them, for the display.
        on_row: called in this process with what each epoch measured, as it ends.

    Raises:
        InputError: as a worker raised it: the same start would end in the same way, so none is tried.
    """

    def guarded(settings: Settings) -> None:
        try:
            worker(settings)
        except InputError as error:
            (out / STOPPED).write_text(json.dumps([error.problem, error.remedy]))

    os.environ.setdefault(LOOK_AT_WORKERS, "0.25")
    cores = int(ray.cluster_resources().get("CPU", 1))
    if spread.workers > cores:
        logger.warning("train: %d workers wait until the cluster has as many cores; it has %d", spread.workers, cores)
    out = out.resolve()
    (out / STOPPED).unlink(missing_ok=True)
    trainer = TorchTrainer(
        guarded,
        train_loop_config=settings,
        # What is kept in the CPU's memory is summed there.
        torch_config=TorchConfig("cpu:gloo,cuda:nccl") if spread.use_gpu and spread.offload else None,
        scaling_config=ScalingConfig(num_workers=spread.workers, use_gpu=spread.use_gpu),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=str(out),
            failure_config=FailureConfig(max_failures=spread.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": PASSIVE},
        ),
    )
    seen: list[Row] = []
    with counting("train", epochs, "epochs") as counted, _reported(out, counted, seen, on_row), _interruptible():
        trainer.fit()
    if (out / STOPPED).exists():
        problem, remedy = json.loads((out / STOPPED).read_text())
        raise InputError(problem, remedy)
    last = int(seen[-1]["epoch"]) if seen else epochs
    if last < epochs:
        logger.info("train: stopped early, after epoch %d of %d: the best one is no longer surpassed", last, epochs)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as it does elsewhere.

    Ray Train puts a handler of its own in the place of Python's, which ends the training and then the process without a
    word, and leaves it there for what comes later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _reported(out: Path, counted: Counted, seen: list[Row], on_row: Callable[[Row], None]) -> Iterator[None]:
    """Log, count and list the epochs that workers write down; the workers' own logs stay in Ray's session folder."""
    path, over, known = out / EPOCHS, threading.Event(), 0
    path.unlink(missing_ok=True)

    def look() -> None:
        nonlocal known
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        for line in lines[known:]:
            row = json.loads(line)
            if "warning" in row:
                logger.warning("train: %s", row["warning"])
                continue
            logger.info("train: %s", ", ".join(f"{name} {value:g}" for name, value in row.items()))
            on_row(row)
            seen.append(row)
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


def fit_here(
    make: Callable[[int, int], Task[Batch]],
    optimizer: OptimizerConfig,
    spread: SpreadConfig,
    out: Path,
    unused: bool = False,
) -> Progress:
    """What each Ray Train worker does: its part of one training, from the last checkpoint where there is one.

    Args:
        make: makes the task of a worker, given its rank and the number of workers.
        optimizer: of the frame.
        spread: replicas or shards, and how often a checkpoint is saved.
        out: the artifact's folder.
        unused: whether some weights have no gradient.
    """
    rank, world = share_cores()
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    saved = ray.train.get_checkpoint()
    with saved.as_directory() if saved else nullcontext() as folder:
        return fit(
            make(rank, world),
            optimizer,
            resume=Path(folder) if folder else None,
            on_epoch=lambda progress, save: report(progress, save, out, spread.checkpoint_every),
            on_part=lambda progress, save: report(progress, save, out),
            parts=max(1, round(1 / spread.checkpoint_every)),
            wrap=spreading(spread, optimizer.precision, device, unused),
            device=device,
            rank=rank,
            world=world,
            out=out,
        )


def share_cores() -> tuple[int, int]:
    """Take this worker's share of its machine's cores; returns its rank and the number of workers.

    Ray gives an actor one OpenMP thread; the workers of a machine share its cores instead.
    """
    context = ray.train.get_context()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    return context.get_world_rank(), context.get_world_size()


def report(progress: Progress, save: Save, out: Path, every: float = 1) -> None:
    """End an epoch, or a part of one: every worker reports and saves what it holds, and waits for all others.

    A checkpoint is written where Ray Train keeps it, without a copy. One that cannot be written, on a full disk, is
    left out: the last good one stays.

    Args:
        progress: the state of the training.
        save: writes a checkpoint into a folder.
        out: the artifact's folder.
        every: epochs from one checkpoint to the next, where it is above 1.
    """
    first = ray.train.get_context().get_world_rank() == 0
    row = dict(progress.history[-1]) if not progress.step else {"epoch": progress.epoch, "step": progress.step}
    lines: list[dict[str, Any]] = [] if progress.step else [row]
    checkpoint = None
    if progress.epoch % max(1, int(every)) == 0:
        folder = out.resolve() / CHECKPOINTS / f"epoch_{progress.epoch:04d}_step_{progress.step:07d}"
        failure = keep_checkpoint(folder, save)
        if failure:
            lines.append({"warning": failure})
        elif first:
            checkpoint = Checkpoint.from_directory(str(folder))
    ray.train.report(row, checkpoint=checkpoint, checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD)
    if first and lines:
        with (out / EPOCHS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
