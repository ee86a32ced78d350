"""Capabilities as they are answered, each with what its score is made of.

Shapes: C capabilities, K shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.metadata import Metadata
from serving.capability_past import Past
from serving.schemas import FeatureEffect
from serving.schemas.rank import Explore, RankedCapability, RankParts
from training.ranking.exploration import Drawn
from training.ranking.served import CapabilityRanker

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shown:
    """What is shown, by rank before exploration.

    Attributes:
        explore: how the order was drawn.
        drawn: the order, and propensities.
        numbers_K: of the capabilities.
        raw_K: scores of the ranker.
        probability_K: calibrated.
        boost_K: factors of the odds.
        boosted_K: probabilities with them.
    """

    explore: Explore
    drawn: Drawn
    numbers_K: Numbers
    raw_K: Values
    probability_K: Values
    boost_K: Values
    boosted_K: Values


def results_of(
    ranker: CapabilityRanker, metadata: Sequence[Metadata], shown: Shown, text_C: Floats, past: Past, explained: bool
) -> list[RankedCapability]:
    """Capabilities as they are answered, in the order that was drawn.

    Args:
        ranker: that scored.
        metadata: of all capabilities.
        shown: which are shown.
        text_C: scores of all by text alone, float32 (C,).
        past: what else is known of them.
        explained: whether it is said what each score is made of.
    """
    results = []
    for rank, place in enumerate(shown.drawn.order.tolist(), start=1):
        number = int(shown.numbers_K[place])
        results.append(
            RankedCapability(
                id=ranker.capabilities[number],
                rank=rank,
                score=float(shown.boosted_K[place]),
                raw_score=float(shown.raw_K[place]),
                propensity=float(shown.drawn.propensities[place]),
                text=ranker.texts[number],
                metadata=metadata[number],
                parts=_parts(ranker, shown, place, float(text_C[number]), past) if explained else None,
            )
        )
    return results


def _parts(ranker: CapabilityRanker, shown: Shown, place: int, text: float, past: Past) -> RankParts:
    number = int(shown.numbers_K[place])
    effects: list[FeatureEffect] = []
    if past.known:
        values, weights = past.values_CF[number], ranker.feature_weights
        each = zip(ranker.features, values.tolist(), (values * weights).tolist(), strict=True)
        effects = [FeatureEffect(name=name, value=value, effect=effect) for name, value, effect in each]
    return RankParts(
        text=text,
        past=float(past.prior_C[number]),
        features=sorted(effects, key=lambda one: -abs(one.effect)),
        probability=float(shown.probability_K[place]),
        boost=float(shown.boost_K[place]),
        ranked=place + 1,
    )
