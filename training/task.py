"""What a task shows to the frame of all trainings, and the progress of its training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

Batch = TypeVar("Batch")
Figures = dict[str, float]
Save = Callable[[Path], None]
"""Writes a checkpoint into a folder; every worker calls it at the same point."""


class Task(Protocol[Batch]):
    """What is trained; to be derived from, since what most tasks leave as it is has a body here.

    Attributes:
        model: all that is trained.
        steps: batches of an epoch on each worker, equally many on all.
        unit: what a batch is made of, in the plural, for the rate in the history.
        per_step: how many of them are in a batch of one worker.
        judges_first: whether the weights that the model came with are judged too, as epoch 0, and may stay the best.
    """

    model: nn.Module
    steps: int
    unit: str = "batches"
    per_step: int = 1
    judges_first: bool = False

    def batches(self, epoch: int) -> Iterator[Batch]:
        """This worker's batches, ``steps`` of them, the same whenever they are asked for.

        A thread makes them while the step runs: no draw from torch's global random numbers. What has a ``to`` is moved
        to the device by it.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The batch's mean loss, a scalar; ``model`` is the one to call, which may be a wrapper of the task's own."""
        ...

    def judge(self, model: nn.Module) -> Figures:
        """Figures on validation data, among them ``score``, by which the best epoch is chosen: higher is better.

        Args:
            model: the task's own model with the weights so far, whole on every worker. What the first worker finds
                counts for all.
        """
        ...

    def groups(self) -> list[dict[str, Any]]:
        """Groups of the model's parameters, each once: ``params``, and where they differ ``rate`` and ``weight_decay``.

        ``rate`` is a share of the learning rate.
        """
        return [{"params": [weights for weights in self.model.parameters() if weights.requires_grad]}]

    def state(self) -> dict[str, Tensor]:
        """What else must survive a kill, such as mined negatives; equal on all workers."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        return


@dataclass
class Progress:
    """The state of a training; all of it is in the checkpoint. ``step`` counts batches of an epoch that is not over."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_score: float = -float("inf")
    best_epoch: int = 0
    world: int = 1
    history: list[Figures] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """How the training went, as the results of stages have it."""
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "valid_mrr": self.best_score,
            "history": self.history,
        }
