"""Rankers of capabilities made by hand, and a service over one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from data.errors import EncoderUnavailable
from evaluation.calibration import Calibrator
from evaluation.intent_calibration import IntentCalibrator
from serving.admission import Admission
from serving.capabilities import CapabilityService
from serving.config import RankConfig
from serving.feature_feed import FeatureFeed
from serving.stored_intents import StoredIntents
from training.ranking.served import CapabilityRanker

DIM = 64
ENCODER = read_encoder({"hashed": {"dim": DIM}})
TEXTS = {
    "weather": "forecast of rain and sun for a city",
    "maps": "route and distance between two places",
    "tables": "book a table in a restaurant",
    "hotels": "book a room in a hotel",
    "travel": "a group of capabilities",
}
METADATA: Mapping[str, Mapping[str, Any]] = {
    "weather": {"team": "sky", "cost": 1},
    "maps": {"team": "ground", "cost": 2},
    "tables": {"team": "travel", "cost": 5},
    "hotels": {"team": "travel", "cost": 9},
}


@dataclass
class CountedEncoder:
    """The hashed encoder, which counts how often it is asked, and may be down."""

    asked: list[str] = field(default_factory=list)
    down: bool = False
    cache_degraded: bool = False

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """As of ``IntentEncoder``."""
        if self.down:
            raise EncoderUnavailable("no encoder", "Start it.")
        self.asked.append(text)
        vector: npt.NDArray[np.float32] = load_encoder(ENCODER).encode_queries([text])[0]
        return vector


def cosine_ranker(
    texts: Mapping[str, str] = TEXTS,
    features: Mapping[str, float] | None = None,
    **given: Any,  # noqa: ANN401
) -> CapabilityRanker:
    """By the cosine of intent and text; ``travel`` is a group that cannot run.

    Args:
        texts: of the capabilities.
        features: weights of features by their names.
        given: further attributes.
    """
    encoder, ids = load_encoder(ENCODER), list(texts)
    weighed = dict(features or {})
    made: dict[str, Any] = {
        "kind": "cosine",
        "version": "v1",
        "capabilities": ids,
        "texts": list(texts.values()),
        "metadata": [json.dumps(METADATA[id_]) if id_ in METADATA else None for id_ in ids],
        "can_run": np.array([id_ != "travel" for id_ in ids], bool),
        "tools": ["t1", "t2"],
        "fingerprint": encoder.fingerprint,
        "intent_map": np.eye(DIM, dtype=np.float32),
        "context_map": None,
        "tool_vectors": encoder.encode(["rain", "hotel"]),
        "keys": encoder.encode(list(texts.values())) if ids else np.zeros((0, DIM), np.float32),
        "heads": 1,
        "features": tuple(weighed),
        "feature_weights": np.array(list(weighed.values()), np.float32),
        "calibrator": IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 6.0, -2.0)),
    }
    return CapabilityRanker(**{**made, **given})


def service_of(
    ranker: CapabilityRanker | None = None,
    encoder: CountedEncoder | None = None,
    feed: FeatureFeed | None = None,
    stored: StoredIntents | None = None,
    admission: Admission | None = None,
    seed: int = 0,
    **config: Any,  # noqa: ANN401 - of RankConfig
) -> CapabilityService:
    """A service over a ranker."""
    return CapabilityService(
        ranker or cosine_ranker(),
        encoder or CountedEncoder(),
        feed,
        stored,
        RankConfig(**config),
        admission or Admission(5.0, 64),
        seed,
    )


def ids_of(answer: Any) -> Sequence[str]:  # noqa: ANN401 - an answer or its JSON
    """Ids of what is shown, in order."""
    results = answer["results"] if isinstance(answer, Mapping) else answer.results
    return [one["id"] if isinstance(one, Mapping) else one.id for one in results]
