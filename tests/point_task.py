"""A task that learns in milliseconds: which of four directions each point was pushed in, with dropout."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from training.recompute import Recomputing
from training.task import Task


class Points(NamedTuple):
    """B points of 8 numbers and the class of each."""

    points_BD: Tensor
    class_B: Tensor


class Classifier(Recomputing):
    """Two layers with dropout between them; which of them were called is counted."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Parameter(torch.randn(4, 8))
        self.inner = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2))
        self.last = nn.Linear(16, 4)
        self.inner_calls = 0
        self.inner.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.inner_calls += 1

    def forward(self, points_BD: Tensor) -> Tensor:
        """Logits of shape (B, 4)."""
        return self.last(self.kept(self.inner, points_BD)) + points_BD @ self.table.T


class PointTask(Task[Points]):
    """Eight batches of 16 points a worker in each epoch, drawn anew from the seed, the epoch and the rank."""

    unit, per_step = "points", 16

    def __init__(self, seed: int = 0, rank: int = 0, steps: int = 8, scores: list[float] | None = None) -> None:
        self.model = Classifier(seed)
        self.rank, self.steps = rank, steps
        self.scores = scores
        self.judged = 0
        self.counter = torch.zeros(1)

    def draw(self, *key: int) -> Points:
        rng = np.random.default_rng(key)
        classes = rng.integers(0, 4, 16)
        points = rng.normal(size=(16, 8)) + 2 * np.eye(8)[classes]
        return Points(torch.from_numpy(points).float(), torch.from_numpy(classes))

    def batches(self, epoch: int) -> Iterator[Points]:
        return (self.draw(7, epoch, step, self.rank) for step in range(self.steps))

    def loss(self, model: nn.Module, batch: Points) -> Tensor:
        return nn.functional.cross_entropy(model(batch.points_BD), batch.class_B)

    def judge(self, model: nn.Module) -> dict[str, float]:
        self.judged += 1
        self.counter += 1
        if self.scores is not None:
            return {"score": self.scores[self.judged - 1]}
        batch = self.draw(1)
        return {"score": -PointTask.loss(self, model, batch).item()}

    def state(self) -> dict[str, Tensor]:
        return {"counter": self.counter}

    def load(self, state: dict[str, Tensor]) -> None:
        self.counter = state["counter"]
