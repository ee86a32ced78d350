"""Which intents a ranker of capabilities learns from, and which it is judged by.

A part is decided by the hash of the intent alone. So the same question is never on both sides, however often it was
asked, and an intent that was held out when the last model was trained is held out when the next one is: both can be
judged by it.

Shapes: Q intents, N traces.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.capabilities.traces import normalised
from data.errors import InputError

Numbers = npt.NDArray[np.int64]

Part = Literal["train", "valid", "judge", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "judge", "test")
"""What is learned from; what chooses the best epoch; what chooses the kind that is served; what is reported."""

DAY_US = 86_400_000_000


class CapabilitySplit(StageConfig):
    """Shares of the intents that are kept back."""

    valid: float = Field(0.1, gt=0, lt=1, description="share of intents that choose the best epoch")
    judge: float = Field(0.1, gt=0, lt=1, description="share of intents that choose which kind of ranker is served")
    test: float = Field(0.2, gt=0, lt=1, description="share of intents that figures are reported of")
    seed: int = Field(0, ge=0, description="of the hash that decides; another one splits anew")

    @model_validator(mode="after")
    def _leaves_some(self) -> "CapabilitySplit":
        kept = self.valid + self.judge + self.test
        if kept >= 1:
            raise ValueError(f"valid, judge and test keep {kept:g} of the intents; nothing is left to learn from")
        return self


def places(intents: Sequence[str], seed: int) -> npt.NDArray[np.float64]:
    """Where the hash of each intent falls, float64 (Q,) from 0 to below 1; normalised alike, they fall alike.

    Args:
        intents: texts.
        seed: hashed with them.
    """
    digests = b"".join(
        hashlib.blake2b(f"{seed}\0{normalised(intent)}".encode(), digest_size=8).digest() for intent in intents
    )
    return np.frombuffer(digests, "<u8").astype(np.float64) / 2.0**64


def parts_of(intents: Sequence[str], config: CapabilitySplit) -> Numbers:
    """The part of each intent, as its place in ``PARTS``: int64 (Q,)."""
    ends = np.cumsum([config.test, config.judge, config.valid])
    return len(PARTS) - 1 - np.searchsorted(ends, places(intents, config.seed), side="right").astype(np.int64)


def folds_of(intents: Sequence[str], folds: int, seed: int = 0) -> Numbers:
    """Which of ``folds`` each intent is judged in: int64 (Q,)."""
    return np.minimum((places(intents, seed) * folds).astype(np.int64), folds - 1)


def mean_and_deviation(of_folds: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a figure over folds; the deviation is 0 of a single one."""
    values = np.asarray(of_folds, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Window:
    """Traces that are learned from, and the later ones that are judged by, as numbers: int64 each."""

    train: Numbers
    test: Numbers


def windows(time_N: Numbers, train_days: float = 30, test_days: float = 7, embargo_days: float = 1) -> list[Window]:
    """Stretches of time one after the other: learn from the first days, leave out some, judge by the next.

    The embargo keeps what follows from a trace (a session that goes on, feedback that comes late) out of its judgment.
    Each window begins ``test_days`` after the one before; those without traces on either side are left out.

    Args:
        time_N: microseconds since 1970, -1 where it is not known.
        train_days: of each window.
        test_days: of each window.
        embargo_days: between both.

    Raises:
        InputError: if the time of a trace is missing, or the traces span too few days for one window.
    """
    missing = int((time_N < 0).sum())
    if missing or not len(time_N):
        raise InputError(
            f"temporal windows: the time of {missing:,} of {len(time_N):,} traces is missing",
            "Give each trace a time, or split by intent.",
        )
    begin, last, found = int(time_N.min()), int(time_N.max()), list[Window]()
    train, test, embargo = (round(days * DAY_US) for days in (train_days, test_days, embargo_days))
    start = begin
    while start + train + embargo <= last:
        learn = np.flatnonzero((time_N >= start) & (time_N < start + train))
        until = start + train + embargo
        judge = np.flatnonzero((time_N >= until) & (time_N < until + test))
        if len(learn) and len(judge):
            found.append(Window(learn, judge))
        start += test
    if not found:
        days = (last - begin) / DAY_US
        raise InputError(
            f"temporal windows: the traces span {days:.1f} days; a window takes over {train_days + embargo_days:g}",
            "Take shorter windows, or split by intent.",
        )
    return found
