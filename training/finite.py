"""A training whose loss or gradient is no number stops, and says with which batch and what to lower."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import InputError
from training.config import OptimizerConfig
from training.replicas import alone, whole


class FiniteWatch:
    """Looks at each step's loss and gradient norm once the next step is on its way: so a GPU is not waited for.

    The norm is of the gradient averaged over the workers: where it is no number it is so on all, and all stop.

    Args:
        config: names what could be lowered.
        rank: of this worker.
        out: where the batch is written; a temporary folder where None.
    """

    def __init__(self, config: OptimizerConfig, rank: int, out: Path | None) -> None:
        self._config, self._rank, self._out = config, rank, out
        self._running: list[tuple[object, Tensor]] = []
        self._last: tuple[int, int, Tensor, list[tuple[object, Tensor]]] | None = None

    def saw(self, epoch: int, step: int, batch: object, loss: Tensor, norm: Tensor | None) -> None:
        """Take note of a batch; with ``norm`` the optimiser has made its step, and the one before it is looked at.

        Raises:
            InputError: if that one's loss or gradient is no number.
        """
        self._running.append((batch, loss.detach()))
        if norm is not None:
            self.check()
            self._last, self._running = (epoch, step, norm, self._running), []

    def check(self) -> None:
        """Look at the last step now.

        Raises:
            InputError: if its loss or gradient is no number.
        """
        if self._last is None:
            return
        epoch, step, norm, batches = self._last
        self._last = None
        losses = torch.stack([loss.float() for _, loss in batches])
        bad = ~torch.isfinite(losses)
        if bool(torch.isfinite(whole(norm))) and not (alone() and bool(bad.any())):
            return
        which = int(bad.float().argmax()) if bool(bad.any()) else len(batches) - 1
        file = self._write(epoch, step, batches[which][0], float(losses[which]))
        raise InputError(
            f"in epoch {epoch + 1}, step {step + 1}, the loss is {float(losses[which]):g} and the norm of the gradient "
            f"{float(whole(norm)):g}; the batch is in {file}",
            f"Lower learning_rate ({self._config.learning_rate:g}) or clip_norm ({self._config.clip_norm:g}), "
            + ("or set precision: fp32." if self._config.precision == "bf16" else "or raise warmup_fraction.")
            + " A batch that gives no number with fresh weights has bad input.",
        )

    def _write(self, epoch: int, step: int, batch: object, loss: float) -> Path:
        folder = self._out or Path(tempfile.mkdtemp(prefix="catena-"))
        file = folder / f"bad_batch_{self._rank}.pt"
        held: dict[str, Any] = {"epoch": epoch, "step": step, "loss": loss, "batch": batch}
        torch.save(held, file)
        return file
