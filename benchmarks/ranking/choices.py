"""What each choice of the network's config is worth, on one split of MetaTool with pairs of tools as capabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.ranking.corpus import TOGETHER, metatool, split_anew, trained
from benchmarks.rows import Row
from evaluation.capability_metrics import reciprocal_ranks
from training.ranking.config import LearnConfig
from training.ranking.experience import Experience

CHOICES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "one_head": {"network": {"heads": 1}},
    "four_heads": {"network": {"heads": 4}},
    "two_rounds": {"network": {"layers": 2}},
    "no_table": {"network": {"table": False}},
    "own_vectors_whole": {"network": {"own_share": 1.0}},
    "structure_weighted": {"network": {"structure": "weighted"}},
    "structure_concatenated": {"network": {"structure": "concatenated"}},
    "structure_learned": {"network": {"structure": "learned"}},
    "replay": {"replay": {}},
}


def measure() -> list[Row]:
    """A training each: five minutes."""
    experience = split_anew(metatool(*TOGETHER), 0)
    return [_row(name, experience, choice) for name, choice in CHOICES.items()]


def _row(name: str, experience: Experience, choice: Mapping[str, Any]) -> Row:
    network, score = trained(experience, LearnConfig.model_validate(choice))
    asked = experience.successes("test")
    ranks = reciprocal_ranks(score, asked)
    several = np.unique(asked.query_E[np.diff(experience.catalogue.indptr)[asked.item_E] > 1])
    return Row(
        id=f"rank.choices.{name}",
        what=f"MRR of the network with {dict(choice) or 'the default config'}, {len(asked):,} held-out requests",
        value=round(float(ranks.mean()), 4),
        unit="MRR",
        peer=f"{ranks[several].mean():.4f} on the {len(several)} that two tools answer together; messages are "
        f"{network.message_share():.1%} of states",
    )
