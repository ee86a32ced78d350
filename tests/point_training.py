"""Workers that train on points, slowly enough to be killed in mid-epoch."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from tests.point_task import Points, PointTask
from training.config import OptimizerConfig, SpreadConfig
from training.workers import fit_here


class SteadyTask(PointTask):
    """No dropout, so that one process can compute what two do; each step is noted.

    Args:
        rank: of the worker.
        out: where steps are noted.
        broken: whether the loss is no number from the second epoch on.
    """

    def __init__(self, rank: int, out: Path, broken: bool = False) -> None:
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
        return found * float("nan") if self._broken and self._epoch else found


class BothShares(SteadyTask):
    """The batches of two workers, one after the other."""

    def __init__(self, out: Path) -> None:
        super().__init__(0, out)
        self.steps = 16

    def batches(self, epoch: int) -> Iterator[Points]:
        return (self.draw(7, epoch, step, rank) for step in range(8) for rank in (0, 1))


def train_points(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does."""
    out = Path(settings["out"])
    tasks: list[SteadyTask] = []

    def make(rank: int, world: int) -> SteadyTask:
        tasks.append(SteadyTask(rank, out, settings["broken"]))
        return tasks[0]

    spread = SpreadConfig.model_validate(settings["spread"])
    progress = fit_here(make, OptimizerConfig.model_validate(settings["optimizer"]), spread, out)
    if tasks[0].rank == 0:
        save_file(tasks[0].model.state_dict(), out / "model.safetensors")
        (out / "history.json").write_text(json.dumps(progress.history))
