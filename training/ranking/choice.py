"""Which kind of ranker is served: the simplest one, until a more learned one is better by more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluation.significance import paired_difference
from training.ranking.experience import Values
from training.verdict import LEVEL, is_better

Compared = Mapping[str, float]

NAMES = {"cosine": "cosine", "centroid": "the centroid step", "hypergraph": "the network"}


@dataclass(frozen=True)
class Choice:
    """The kind that is served.

    Attributes:
        kind: its name.
        sentence: why, for people.
        compared: each step that was looked at, by what was compared, as of ``paired_difference``.
    """

    kind: str
    sentence: str
    compared: dict[str, dict[str, float]] = field(default_factory=dict)


def choose_kind(moved: Values, still: Values, network: Values | None, simple: Mapping[str, Values]) -> Choice:
    """Cosine, the centroid step or the network.

    Args:
        moved: float64, reciprocal ranks of intents that may be learned from, by the centroid step of other folds.
        still: of the same, by cosine.
        network: of intents that neither trained it nor chose its epoch; None where there is none.
        simple: of the same intents, by ``cosine`` and ``centroid``.
    """
    step = paired_difference(moved, still)
    kind, compared = ("centroid" if is_better(step) else "cosine"), {"centroid over cosine": step}
    told = [f"the centroid step {_words(step, 'cosine', len(moved))}"]
    if network is not None:
        further = paired_difference(network, simple[kind])
        compared[f"network over {kind}"] = further
        told.append(f"the network {_words(further, NAMES[kind], len(network))}")
        kind = "hypergraph" if is_better(further) else kind
    return Choice(kind, f"{NAMES[kind]} is served: {'; '.join(told)}", compared)


def lost(challenger: Values, champion: Values) -> tuple[bool, dict[str, float]]:
    """Whether a challenger is worse than the champion on the same intents by more than chance; and by how much."""
    compared = paired_difference(challenger, champion)
    return compared["difference"] < 0 and compared["p_value"] < LEVEL, compared


def _words(compared: Compared, over: str, intents: int) -> str:
    difference = compared["difference"]
    told = f"{'gains' if difference > 0 else 'loses'} {abs(difference):.4f} MRR" if difference else "is equal in MRR"
    sure = "" if not difference or compared["p_value"] < LEVEL else ", which may be chance"
    return f"{told} against {over} on {intents:,} held-out intents (p = {compared['p_value']:.4f}{sure})"
