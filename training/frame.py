"""The frame of every training: one loop, readable from top to bottom; plain PyTorch, on one process or on many.

A task shows its model, its batches, its loss and how it is judged; the frame has the optimiser, the schedule, the best
epoch, checkpoints and their resumption. Every random draw of a step follows from (seed, epoch, step, rank), so that a
training which was killed and resumed ends with the weights of an undisturbed one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from data.errors import InputError
from training.ahead import Ahead
from training.checkpoint import load_checkpoint, read_progress, save_checkpoint
from training.config import OptimizerConfig
from training.finite import FiniteWatch
from training.products import fast_products
from training.recompute import recompute_activations
from training.replicas import bare, copy_whole, first_decides, mean_of_workers, synchronise
from training.schedule import SCHEDULES
from training.task import Batch, Figures, Progress, Save, Task

__all__ = ["Progress", "Report", "Save", "Task", "Wrap", "fit"]

Wrap = Callable[[nn.Module], nn.Module]
Report = Callable[[Progress, Save], None]


def fit(
    task: Task[Batch],
    config: OptimizerConfig,
    *,
    resume: Path | None = None,
    on_epoch: Report | None = None,
    on_part: Report | None = None,
    parts: int = 1,
    wrap: Wrap | None = None,
    device: torch.device | None = None,
    rank: int = 0,
    world: int = 1,
    out: Path | None = None,
) -> Progress:
    """Train a task's model; it ends with the weights of its best epoch, in evaluation mode.

    Args:
        task: what is trained.
        config: optimiser, schedule, epochs, precision, seed.
        resume: folder of a checkpoint to go on from.
        on_epoch: called after every epoch on every worker, with the progress and a function that saves a checkpoint
            into a folder; where it calls that function, it does so on every worker.
        on_part: likewise, within an epoch, between its ``parts``.
        parts: of an epoch, equal but for a step.
        wrap: makes the model data-parallel and moves it to its device.
        device: where batches go; the CPU where None.
        rank: this worker's number.
        world: number of workers.
        out: where a batch whose loss is no number is written; a temporary folder where None.

    Raises:
        InputError: if an epoch has no batch, a loss or a gradient is no number, or the checkpoint does not fit; on all
            workers.
    """
    if task.steps < 1:
        raise InputError(
            f"an epoch has no batch for each of {world} workers", "Lower the number of workers, or the batch."
        )
    device = device or torch.device("cpu")
    training = _Training(task, config, wrap, device, rank, world, out)
    marks = {round(task.steps * part / parts) // config.accumulate * config.accumulate for part in range(1, parts)}
    with fast_products(device):
        progress = training.start(resume)
        while progress.epoch < config.epochs and progress.epoch - progress.best_epoch < config.patience:
            for done in training.epoch():
                if on_part is not None and done in marks and done < task.steps:
                    training.pause(done)
                    on_part(progress, training.save)
            training.judge()
            if on_epoch is not None:
                on_epoch(progress, training.save)
        training.end()
    return progress


class _Training(Generic[Batch]):
    """Model, optimiser and progress of one training, on one of its workers."""

    def __init__(
        self,
        task: Task[Batch],
        config: OptimizerConfig,
        wrap: Wrap | None,
        device: torch.device,
        rank: int,
        world: int,
        out: Path | None,
    ) -> None:
        self.task, self.config, self.device, self.rank, self.world = task, config, device, rank, world
        if config.checkpoint_activations:
            recompute_activations(task.model)
        groups = _named_groups(task)
        self.parallel = wrap(task.model) if wrap is not None else task.model
        self.trained = bare(self.parallel)
        if config.compile:
            self.trained.compile()
        self.optimizer = _optimizer(self.trained, groups, config)
        self.best = {name: tensor.detach().clone() for name, tensor in self.trained.state_dict().items()}
        self.updates = -(-task.steps // config.accumulate)  # steps of the optimiser in an epoch
        self.share = SCHEDULES[config.schedule](config.warmup_fraction, config.epochs * self.updates)
        self.watch = FiniteWatch(config, rank, out)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.started = time.perf_counter()

    def start(self, resume: Path | None) -> Progress:
        """The progress at the start: that of a checkpoint, or none."""
        if resume is not None:
            self.progress = Progress(**read_progress(resume))
            self._check_continues(resume)
            self.task.load(load_checkpoint(resume, self.trained, self.optimizer, self.best))
        else:
            self.progress = Progress(world=self.world)
            if self.task.judges_first:
                figures = self._figures()
                self.progress.best_score = figures["score"]
                self.progress.history.append({"epoch": 0, **figures})
        return self.progress

    def epoch(self) -> Iterator[int]:
        """Train on what is left of this epoch; yields the number of batches done after each step of the optimiser."""
        progress, task = self.progress, self.task
        self.trained.train()
        self.started = time.perf_counter() - progress.seconds
        self.loss_sum.fill_(progress.loss_sum)
        batches = islice(task.batches(progress.epoch), progress.step, None)
        step = progress.step - 1
        with closing(Ahead(batches, prepare=partial(_moved, device=self.device))) as made:
            for step, batch in enumerate(made, progress.step):
                if self._step(batch, step):
                    yield step + 1
        if step + 1 != task.steps:
            raise ValueError(f"the task promised {task.steps} batches an epoch and gave {step + 1}")
        self.pause(task.steps)

    def _step(self, batch: Batch, step: int) -> bool:
        """Forward and backward; and a step of the optimiser where the batch is the last to be accumulated."""
        config, progress = self.config, self.progress
        first = step // config.accumulate * config.accumulate
        together = min(config.accumulate, self.task.steps - first)
        last = step == first + together - 1
        _seed(config.seed, progress.epoch, step, self.rank)
        synchronise(self.parallel, last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            loss = self.task.loss(self.parallel, batch)
        (loss / together).backward()  # type: ignore[no-untyped-call]
        self.loss_sum += loss.detach()
        norm = None
        if last:
            norm = nn.utils.clip_grad_norm_(self.trained.parameters(), config.clip_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * self.share(progress.epoch * self.updates + step // config.accumulate)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.watch.saw(progress.epoch, step, batch, loss, norm)
        return last

    def pause(self, done: int) -> None:
        """Bring the progress up to date after ``done`` batches of the epoch."""
        self.watch.check()
        self.loss_sum = mean_of_workers(self.loss_sum)
        self.progress.step, self.progress.loss_sum = done, float(self.loss_sum)
        self.progress.seconds = time.perf_counter() - self.started

    def judge(self) -> None:
        """End the epoch: judge the weights, keep them where they are the best, and write its row of the history."""
        progress, task = self.progress, self.task
        started = time.perf_counter()
        figures = self._figures()
        progress.epoch += 1
        if figures["score"] > progress.best_score:
            progress.best_score, progress.best_epoch = figures["score"], progress.epoch
            for name, tensor in self.trained.state_dict().items():
                self.best[name].copy_(tensor)
        rate = task.steps * task.per_step * self.world / progress.seconds
        progress.history.append(
            {
                "epoch": progress.epoch,
                "loss": round(progress.loss_sum / task.steps, 5),
                **figures,
                "seconds": round(progress.seconds, 3),
                "valid_seconds": round(time.perf_counter() - started, 3),
                f"{task.unit}_per_s": round(rate, 1),
            }
        )
        progress.step, progress.loss_sum, progress.seconds = 0, 0.0, 0.0

    def save(self, folder: Path) -> None:
        """Write a checkpoint; on every worker at the same point."""
        save_checkpoint(folder, self.trained, self.best, self.optimizer, vars(self.progress), self.task.state())

    def end(self) -> None:
        """Leave the best epoch's weights in the task's model."""
        self.trained.load_state_dict(self.best)
        copy_whole(self.trained, self.task.model)
        self.task.model.eval()

    def _figures(self) -> Figures:
        self.trained.eval()
        copy_whole(self.trained, self.task.model)
        with torch.no_grad():
            return first_decides(self.task.judge(self.task.model.eval()))

    def _check_continues(self, folder: Path) -> None:
        progress = self.progress
        if progress.step and progress.world != self.world:
            raise InputError(
                f"the checkpoint in {folder} was saved in mid-epoch by {progress.world} workers, not {self.world}",
                f"Go on with {progress.world} workers: their number can change after an epoch, not within one.",
            )
        progress.world = self.world


def _named_groups(task: Task[Any]) -> list[dict[str, Any]]:
    """The task's groups with names in the place of weights, which sharding replaces."""
    names = {id(weights): name for name, weights in task.model.named_parameters()}
    return [{**group, "params": [names[id(weights)] for weights in group["params"]]} for group in task.groups()]


def _optimizer(model: nn.Module, groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
    weights = dict(model.named_parameters())
    made = []
    for group in groups:
        peak = config.learning_rate * group.get("rate", 1.0)
        decay = group.get("weight_decay", config.weight_decay)
        made.append({"params": [weights[n] for n in group["params"]], "lr": peak, "peak": peak, "weight_decay": decay})
    if config.kind == "adagrad":
        sharded = any(isinstance(tensor, DTensor) for tensor in weights.values())  # which torch cannot fuse
        return torch.optim.Adagrad(made, eps=1e-10, fused=not sharded)
    optimizer = torch.optim.AdamW(made, fused=True)
    # AdamW makes the moments of a weight with its first gradient; a checkpoint wants the same tensors at any time.
    for tensor in (tensor for group in optimizer.param_groups for tensor in group["params"]):
        step = torch.zeros((), dtype=torch.float32, device=tensor.device)
        optimizer.state[tensor] = {"step": step, **{m: torch.zeros_like(tensor) for m in ("exp_avg", "exp_avg_sq")}}
    return optimizer


def _seed(*numbers: int) -> None:
    """Make torch's random draws follow from these numbers alone."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def _moved(batch: Batch, device: torch.device) -> Batch:
    move = getattr(batch, "to", None)
    return move(device) if callable(move) else batch
