"""A ranker of capabilities as any process can open it: arrays that answer an intent with one matrix product.

Whatever it learned, it is served in one form. An intent and the tools at hand are mapped to a vector, which is compared
with a key of each capability; what is known of a capability's past is added. Heads are stretches of the vectors that
have unit length each, so that a key says which head matters to its capability by the length of its stretch.

    score(q, c) = heads(q A + t B) . key_c + w . features_c

Shapes: Q intents, C capabilities, D dimensions of texts, W width, H heads, F features.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from data.errors import InputError
from data.files import whole_folder_or_absent
from evaluation.intent_calibration import IntentCalibrator

Floats = npt.NDArray[np.float32]

ARRAYS, ABOUT, CALIBRATOR = "ranker.safetensors", "ranker.json", "calibrator.json"


@dataclass(frozen=True)
class CapabilityRanker:
    """What ranks capabilities.

    Attributes:
        kind: of what was learned: ``cosine``, ``centroid``, ``hypergraph``.
        version: digest of the folder's content, or the name that a registry gave it.
        capabilities: ids, by number.
        texts: what each says.
        metadata: JSON of each, None where it has none.
        can_run: bool (C,), groups without tools of their own are never ranked.
        tools: ids of tools, by number.
        fingerprint: of the encoder whose vectors of intents it takes.
        intent_map: float32 (D, W).
        context_map: float32 (D, W), of the mean vector of the tools at hand; None where they do not count.
        tool_vectors: float32 (T, D), of those tools.
        keys: float32 (C, W).
        heads: H.
        features: names of the features that it weighs, F.
        feature_weights: float32 (F,).
        calibrator: from scores to the probability of success, each beside the other scores of its intent.
        about: what else is told of it, JSON.
    """

    kind: str
    version: str
    capabilities: list[str]
    texts: list[str]
    metadata: list[str | None]
    can_run: npt.NDArray[np.bool_]
    tools: list[str]
    fingerprint: str
    intent_map: Floats
    context_map: Floats | None
    tool_vectors: Floats
    keys: Floats
    heads: int
    features: tuple[str, ...]
    feature_weights: Floats
    calibrator: IntentCalibrator
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """D, of the vectors of intents."""
        return int(self.intent_map.shape[0])

    @property
    def calibrated(self) -> bool:
        """Whether its probabilities were fitted by held-out intents."""
        return self.calibrator.fitted

    def queries(self, intents_QD: Floats, contexts: Sequence[Sequence[int]] | None = None) -> Floats:
        """Vectors that keys are compared with, float32 (Q, W).

        Args:
            intents_QD: of the encoder, unit length.
            contexts: numbers of the tools at hand of each intent; none where None.
        """
        mapped_QW = intents_QD @ self.intent_map
        if self.context_map is not None and contexts is not None and any(len(of_one) for of_one in contexts):
            means_QD = np.zeros_like(intents_QD)
            for row, numbers in enumerate(contexts):
                if len(numbers):
                    means_QD[row] = self.tool_vectors[np.asarray(numbers)].mean(axis=0)
            mapped_QW = mapped_QW + means_QD @ self.context_map
        parts_QHW = mapped_QW.reshape(len(mapped_QW), self.heads, -1)
        lengths = np.linalg.norm(parts_QHW, axis=2, keepdims=True)
        unit: Floats = (parts_QHW / np.maximum(lengths, 1e-12)).reshape(mapped_QW.shape).astype(np.float32)
        return unit

    def prior(self, features_CF: Floats) -> Floats:
        """What the past of each capability adds to its scores, float32 (C,)."""
        added: Floats = (features_CF @ self.feature_weights).astype(np.float32)
        return added

    def score(self, queries_QW: Floats, prior_C: Floats) -> Floats:
        """Scores of all capabilities, float32 (Q, C); those that cannot run have minus infinity.

        Args:
            queries_QW: as of ``queries``.
            prior_C: as of ``prior``.
        """
        scores_QC: Floats = queries_QW @ self.keys.T + prior_C
        scores_QC[:, ~self.can_run] = -np.inf
        return scores_QC

    def save(self, folder: Path) -> None:
        """Write it; the folder is whole or absent."""
        with whole_folder_or_absent(folder) as unfinished:
            unfinished.mkdir()
            self.write(unfinished)

    def write(self, folder: Path) -> None:
        """Write its files into a folder that is there, beside what else belongs to it."""
        arrays = {
            "intent_map": self.intent_map,
            "tool_vectors": self.tool_vectors,
            "keys": self.keys,
            "feature_weights": self.feature_weights,
            "can_run": self.can_run,
        }
        if self.context_map is not None:
            arrays["context_map"] = self.context_map
        told = ("kind", "version", "capabilities", "texts", "metadata", "tools", "fingerprint", "heads", "features")
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS)
        self.calibrator.save(folder / CALIBRATOR)
        described = {name: getattr(self, name) for name in told} | {"about": dict(self.about)}
        (folder / ABOUT).write_text(json.dumps(described, ensure_ascii=False))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: if there is none.
        """
        try:
            told = json.loads((folder / ABOUT).read_text())
            arrays = load_file(folder / ARRAYS)
        except (OSError, ValueError) as error:
            problem = f"{folder} has no ranker of capabilities: {error}"
            raise InputError(problem, "`catena learn RUN.yaml` makes one.") from None
        told["features"] = tuple(told["features"])
        context_map = arrays.pop("context_map", None)
        return cls(**told, **arrays, context_map=context_map, calibrator=IntentCalibrator.load(folder / CALIBRATOR))
