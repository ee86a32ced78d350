"""What makes scores and probabilities of a cross-encoder's logits: the first stage's word, and Platt's curve."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import InputError

FILE = "ranking.json"  # in the folder of a cross-encoder that was trained here

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Platt's logistic curve from score to probability (1999): ``sigmoid(slope * score + intercept)``."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, scores: npt.NDArray[np.floating]) -> Values:
        """Probabilities, float64 of the shape of ``scores``."""
        logits = np.asarray(scores, np.float64) * self.slope + self.intercept
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))  # the sigmoid, without overflow


@dataclass(frozen=True)
class Blend:
    """How logits of documents are turned into scores.

    Where a first stage has put the documents in order, ``weight * ln(rank)`` is taken off the logit of each: as a prior
    by which the document at rank r is relevant with odds of r to the power of minus ``weight``. Ranks and not scores,
    since those of a fusion mean another thing with each of its settings.

    Attributes:
        weight: of the first stage's ranks; 0 leaves the cross-encoder alone.
        alone: probabilities of logits, where no first stage has ranked.
        after: probabilities of what is left of logits, where one has.
    """

    weight: float = 0.0
    alone: Curve = Curve()
    after: Curve = Curve()

    def scores(self, logits: Sequence[float] | npt.NDArray[np.floating], ranked: bool) -> Values:
        """Scores, higher is better: float64 (n,).

        Args:
            logits: (n,) of documents; where ``ranked``, best first by the first stage.
            ranked: whether a first stage has put them in this order.
        """
        given = np.asarray(logits, np.float64)
        return given - self.weight * np.log(np.arange(1, len(given) + 1)) if ranked else given

    def relevance(self, scores: npt.NDArray[np.floating], ranked: bool) -> Values:
        """Probabilities of scores, float64 (n,)."""
        return (self.after if ranked else self.alone)(scores)

    def save(self, folder: Path, **about: object) -> None:
        """Write it into the folder of its model, with what else is told of that model."""
        (folder / FILE).write_text(json.dumps({**about, "blend": asdict(self)}, indent=2), encoding="utf-8")


def read_blend(model: str, key: str) -> Blend:
    """The blend in a model's folder; one that leaves the logits alone where there is none.

    Args:
        model: folder, or a name on the hub.
        key: of the run file that names it, for messages.

    Raises:
        InputError: if it is there and cannot be read.
    """
    file = Path(model) / FILE
    if not file.is_file():
        return Blend()
    try:
        told = json.loads(file.read_text(encoding="utf-8"))["blend"]
        return Blend(float(told["weight"]), Curve(**told["alone"]), Curve(**told["after"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{key}: {file} cannot be read: {error!r}", "Train it again, or copy it whole.") from error
