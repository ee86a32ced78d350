"""Workers that train on points, slowly enough to be killed in mid-epoch."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tests.point_task import Points, PointTask
from training.config import OptimizerConfig, SpreadConfig
from training.workers import fit_here


class SteadyTask(PointTask):
    """No dropout, so that one process can compute what two do; each step is noted.

    Args:
        rank: of the worker.
        out: where steps are noted.
        broken: from this epoch on, counted from 0, the loss is no number.
    """

    def __init__(self, rank: int, out: Path, broken: int = 99) -> None:
        super().__init__(rank=rank)
        self.model.inner[2].p = 0.0
        self._out, self._broken, self._epoch = out, broken, 0

    def batches(self, epoch: int) -> Iterator[Points]:
        self._epoch = epoch
        return super().batches(epoch)

    def loss(self, model: nn.Module, batch: Points) -> Tensor:
        time.sleep(0.1)
        with (self._out / f"steps-{self.rank}").open("a") as file:
            file.write(f"{self._epoch}\n")
        found = super().loss(model, batch)
        return found * float("nan") if self._epoch >= self._broken else found


class BothShares(SteadyTask):
    """The batches of two workers, one after the other."""

    def __init__(self, out: Path) -> None:
        super().__init__(0, out)
        self.steps = 16

    def batches(self, epoch: int) -> Iterator[Points]:
        return (self.draw(7, epoch, step, rank) for step in range(8) for rank in (0, 1))


def train_points(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does."""
    out, spread = Path(settings["out"]), SpreadConfig.model_validate(settings["spread"])

    def make(rank: int, world: int) -> SteadyTask:
        return SteadyTask(rank, out, settings["broken"])

    fit_here(make, OptimizerConfig.model_validate(settings["optimizer"]), spread, out)
