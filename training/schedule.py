"""Learning rates over a training: a share of the peak rate at every step."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]
"""A step, counted from 0, to the share of the peak rate at it."""


def warmup_cosine(warmup_fraction: float, total: int) -> Schedule:
    """Linear rise over the warm-up, then half a cosine down to zero (Loshchilov and Hutter, ICLR 2017).

    Args:
        warmup_fraction: share of all steps over which the rate rises.
        total: steps of the whole training.
    """
    rise = _rise(warmup_fraction, total)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))

    return share


def warmup_linear(warmup_fraction: float, total: int) -> Schedule:
    """Linear rise over the warm-up, then linear fall to zero; arguments as of ``warmup_cosine``."""
    rise = _rise(warmup_fraction, total)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return max(0.0, (total - step) / max(1, total - rise))

    return share


def warmup_constant(warmup_fraction: float, total: int) -> Schedule:
    """Linear rise over the warm-up, then the peak rate to the end; arguments as of ``warmup_cosine``."""
    rise = _rise(warmup_fraction, total)
    return lambda step: min(1.0, (step + 1) / rise)


SCHEDULES = {"cosine": warmup_cosine, "linear": warmup_linear, "constant": warmup_constant}


def _rise(warmup_fraction: float, total: int) -> int:
    return max(1, round(warmup_fraction * total))
