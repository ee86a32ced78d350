"""Replay of experience: what was learnt little from yet is drawn more often, and weighted down by as much.

Shapes: B rows, added, drawn or changed together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from training.ranking.sum_tree import SumTree

Column = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ReplayConfig(StageConfig):
    """How experience is kept and drawn; the defaults are those of Schaul et al. (ICLR 2016), proportional variant."""

    capacity: int = Field(100_000, ge=1, description="rows kept; the oldest give way to new ones")
    alpha: float = Field(0.6, ge=0, le=1, description="how far priorities decide what is drawn; 0 draws all alike")
    beta: float = Field(0.4, ge=0, le=1, description="how far weights make up for it at first; 1 makes up in full")
    annealed_after: int = Field(100_000, ge=1, description="draws of a batch after which beta has risen to 1")
    epsilon: float = Field(0.01, gt=0, description="added to each error, so that what has none is still drawn")
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Drawn:
    """Rows that were drawn together.

    Attributes:
        numbers: int64 (B,), which rows they are, for ``ReplayBuffer.update``; counted from 0 over all ever added.
        rows: their columns, (B, ...) each.
        weights: float64 (B,), importance weights of their losses, the largest 1.
    """

    numbers: Numbers
    rows: dict[str, Column]
    weights: Floats


class ReplayBuffer:
    """The last rows of experience, drawn in proportion to (|error| + epsilon)^alpha (Schaul et al., ICLR 2016).

    A new row has the largest priority that any has had, so that each is drawn soon. A row is known by its number: the
    error of one that has given way meanwhile is left out, not put on the row in its place.

    Args:
        config: sizes and exponents.
        columns: an example of a row: the shape and type of each of its columns.

    Raises:
        ValueError: if a row has no columns.
    """

    def __init__(self, config: ReplayConfig, columns: Mapping[str, npt.ArrayLike]) -> None:
        if not columns:
            raise ValueError("a row without columns")
        self.config = config
        examples = {name: np.asarray(one) for name, one in columns.items()}
        self._columns = {name: np.zeros((config.capacity, *one.shape), one.dtype) for name, one in examples.items()}
        self._tree = SumTree(config.capacity)
        self._rng = np.random.default_rng(config.seed)
        self._added = self._draws = 0
        self._largest = 1.0  # priority that any row has had

    def __len__(self) -> int:
        """Rows that are kept."""
        return min(self._added, self.config.capacity)

    @property
    def beta(self) -> float:
        """The exponent of the next draw's importance weights."""
        risen = min(1.0, self._draws / self.config.annealed_after)
        return self.config.beta + risen * (1 - self.config.beta)

    def add(self, rows: Mapping[str, npt.ArrayLike]) -> Numbers:
        """Keep rows; the oldest give way where there are too many.

        Args:
            rows: every column, (B, ...) each.

        Returns:
            int64 (B,), the numbers of the rows.

        Raises:
            ValueError: if columns are missing or unknown, or have not the same number of rows.
        """
        given = {name: np.asarray(column) for name, column in rows.items()}
        lengths = {len(column) for column in given.values()}
        if given.keys() != self._columns.keys() or len(lengths) != 1:
            shapes = {name: column.shape for name, column in given.items()}
            raise ValueError(
                f"rows of the columns {', '.join(self._columns)} wanted, equally many of each; got {shapes}"
            )
        numbers = self._added + np.arange(lengths.pop(), dtype=np.int64)
        kept = numbers[-self.config.capacity :]
        places = kept % self.config.capacity
        for name, column in given.items():
            self._columns[name][places] = column[len(column) - len(kept) :]
        self._tree.change(places, np.full(len(kept), self._largest))
        self._added += len(numbers)
        return numbers

    def draw(self, count: int) -> Drawn:
        """Draw rows with replacement, one from each of so many equal stretches of all priorities.

        The weight of a row drawn with probability P of N is (N P)^-beta over the largest of those drawn with it.

        Args:
            count: B, at least 1.

        Raises:
            ValueError: if nothing was added, or ``count`` is less than 1.
        """
        if not self._added or count < 1:
            raise ValueError(f"{count} rows wanted of {len(self)}")
        total = self._tree.total
        targets = (np.arange(count) + self._rng.random(count)) * (total / count)
        places = self._tree.find(np.minimum(targets, np.nextafter(total, 0.0)))
        shares = self._tree.weights[places] * (len(self) / total)
        weights = (shares / shares.min()) ** -self.beta
        self._draws += 1
        rows = {name: column[places] for name, column in self._columns.items()}
        return Drawn(self._numbers_at(places), rows, weights)

    def update(self, numbers_B: Numbers, errors_B: npt.ArrayLike) -> None:
        """Give rows the priorities of their errors; of a number named twice the last error counts.

        Args:
            numbers_B: as of ``add`` or ``draw``.
            errors_B: of temporal differences or any other, (B,); their signs do not matter.

        Raises:
            ValueError: if an error is not finite, or a number was never given.
        """
        errors = np.abs(np.asarray(errors_B, np.float64))
        if not np.isfinite(errors).all():
            raise ValueError("an error is not finite: the values have diverged")
        if len(numbers_B) and not 0 <= numbers_B.min() <= numbers_B.max() < self._added:
            raise ValueError(f"numbers from 0 to {self._added - 1} wanted, got {numbers_B.min()} to {numbers_B.max()}")
        here = numbers_B >= self._added - self.config.capacity
        priorities = (errors[here] + self.config.epsilon) ** self.config.alpha
        self._tree.change(numbers_B[here] % self.config.capacity, priorities)
        self._largest = max(self._largest, float(priorities.max(initial=0.0)))

    def probabilities(self) -> Floats:
        """How likely each row is to be drawn, float64 (rows kept,), the oldest first."""
        numbers = np.arange(self._added - len(self), self._added)
        return self._tree.weights[numbers % self.config.capacity] / self._tree.total

    def _numbers_at(self, places: Numbers) -> Numbers:
        """The numbers of the rows that are at places now."""
        last = self._added - 1
        return last - (last - places) % self.config.capacity

    def state(self) -> dict[str, Column]:
        """All of it as arrays, for ``numpy.savez`` or a checkpoint; only rows that are kept."""
        scalars = {"added": self._added, "draws": self._draws, "largest": self._largest}
        told = {**scalars, "config": self.config.model_dump(mode="json"), "rng": self._rng.bit_generator.state}
        kept = {f"column.{name}": column[: len(self)] for name, column in self._columns.items()}
        return {
            "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
            "weights": self._tree.weights[: len(self)],
            **kept,
        }

    @classmethod
    def restored(cls, config: ReplayConfig, state: Mapping[str, Column]) -> "ReplayBuffer":
        """The buffer that a state was taken of: it goes on drawing what that one would have drawn.

        Raises:
            InputError: if the config is another one.
        """
        told = json.loads(state["told"].tobytes())
        before = ReplayConfig.model_validate(told["config"])
        if before != config:
            differ = [name for name, value in config if value != getattr(before, name)]
            was = ", ".join(f"{name} was {getattr(before, name)} and is {getattr(config, name)}" for name in differ)
            raise InputError(f"the replay buffer was kept with another config: {was}", "Take the one it was kept with.")
        kept = {name.removeprefix("column."): rows for name, rows in state.items() if name.startswith("column.")}
        made = cls(config, {name: np.zeros(rows.shape[1:], rows.dtype) for name, rows in kept.items()})
        for name, rows in kept.items():
            made._columns[name][: len(rows)] = rows
        made._tree.change(np.arange(len(state["weights"])), state["weights"])
        made._added, made._draws, made._largest = told["added"], told["draws"], told["largest"]
        made._rng.bit_generator.state = told["rng"]
        return made
