"""What is wrong with a table of features, before anything is ranked by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.features.table import Features

LARGEST_NORM = 1e4  # of a row: counts come as logarithms, so no honest row is near it
AHEAD_S = 300.0  # that another machine's clock may be fast by


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: ``dimension``, ``nan``, ``norm``, ``collapse`` or ``staleness``.
        reason: in a sentence.
    """

    kind: Literal["dimension", "nan", "norm", "collapse", "staleness"]
    reason: str


def validate(features: Features, names: Sequence[str], now: int, longest_s: float) -> list[Problem]:
    """What is wrong with features; nothing where they can be used.

    Args:
        features: as they came.
        names: that are needed.
        now: microseconds since 1970.
        longest_s: how old they may be, in seconds.
    """
    found = _shape(features, names)
    if found:
        return found
    values_CF = features.values_CF.astype(np.float64)
    bad = ~np.isfinite(values_CF)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        where = f"{features.names[column]} of {features.ids[row]!r}"
        found.append(Problem("nan", f"{int(bad.sum())} values are no numbers, the first is {where}"))
    norms = np.linalg.norm(np.where(bad, 0.0, values_CF), axis=1)
    if norms.max(initial=0.0) > LARGEST_NORM:
        row = int(np.argmax(norms))
        found.append(
            Problem("norm", f"the row of {features.ids[row]!r} is {norms[row]:.4g} long, over {LARGEST_NORM:g}")
        )
    if len(features) > 1 and not bad.any() and bool((values_CF == values_CF[0]).all()):
        found.append(Problem("collapse", f"all {len(features)} rows are alike, so that they tell none from another"))
    age_s = (now - features.time) / 1e6
    if age_s > longest_s:
        found.append(Problem("staleness", f"they are {age_s:,.0f} s old, and may be {longest_s:,.0f} s"))
    if age_s < -AHEAD_S:
        found.append(Problem("staleness", f"they are of a time to come, in {-age_s:,.0f} s"))
    return found


def _shape(features: Features, names: Sequence[str]) -> list[Problem]:
    """Whether there is a column for each name and a row for each entity."""
    found = []
    expected = (len(features.ids), len(features.names))
    if features.values_CF.shape != expected:
        found.append(Problem("dimension", f"the values are {features.values_CF.shape}, and must be {expected}"))
    missing = [name for name in names if name not in features.names]
    if missing:
        found.append(Problem("dimension", f"{len(missing)} of {len(names)} features are missing: {missing[0]}"))
    return found
