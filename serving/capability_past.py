"""What is known of capabilities besides their texts: features of what came of them.

Shapes: C capabilities, F features.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.features.table import Features
from training.ranking.served import CapabilityRanker

RUNS = "log_runs_all"  # feature that says how often a capability ran


@dataclass(frozen=True)
class Past:
    """What is known of all capabilities besides their texts.

    Attributes:
        version: of the features; empty where there are none.
        values_CF: those that the ranker weighs.
        prior_C: what they add to scores.
        runs_C: how often each ran; None where no feature says so.
    """

    version: str
    values_CF: npt.NDArray[np.float32]
    prior_C: npt.NDArray[np.float32]
    runs_C: npt.NDArray[np.float64] | None

    @classmethod
    def unknown(cls, ranker: CapabilityRanker) -> "Past":
        """Where there are no features."""
        count = len(ranker.capabilities)
        return cls("", np.zeros((count, 0), np.float32), np.zeros(count, np.float32), None)

    @classmethod
    def of(cls, features: Features, ranker: CapabilityRanker) -> "Past":
        """What the ranker makes of features."""
        ids = ranker.capabilities
        values_CF = features.of(ids, ranker.features)
        runs_C = np.expm1(features.of(ids, [RUNS])[:, 0].astype(np.float64)) if RUNS in features.names else None
        return cls(features.version, values_CF, ranker.prior(values_CF), runs_C)

    @property
    def known(self) -> bool:
        """Whether there are features; their version is a digest."""
        return self.version != ""
