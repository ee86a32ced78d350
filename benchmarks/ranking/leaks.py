"""What training leaves out, and what that is worth: right answers of other traces, a trace's own outcome."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.ranking.corpus import at_most, metatool, trained
from benchmarks.ranking.logged import ROUNDS, earned_by, simulate
from benchmarks.rows import Row
from data.capabilities.features import NAMES
from evaluation.capability_metrics import Score, reciprocal_ranks
from evaluation.significance import paired_difference
from training.ranking.config import LearnConfig
from training.ranking.experience import Experience, Values
from training.ranking.past import Past, after
from training.ranking.task import CapabilityTask

SEEDS = (0, 1, 2)
FEW = 10  # outcomes a tool


class EveryOther(CapabilityTask):
    """Takes everything but a trace's own choice as wrong."""

    def __init__(self, *words: Any, **named: Any) -> None:  # noqa: ANN401 - as of the task
        super().__init__(*words, **named)
        self.answers = replace(self.answers, counts=np.zeros_like(self.answers.counts))


def measure() -> list[Row]:
    """Forty trainings: five minutes."""
    whole = metatool()
    right = right_answers(whole)
    whole = replace(whole, past=Past.of(whole.catalogue, whole.traces, whole.part, NAMES))
    asked = whole.successes("test")

    def mrr(score: Score) -> float:
        return float(reciprocal_ranks(score, asked).mean())

    return [
        right,
        features("few", f"MRR after at most {FEW} outcomes a tool", at_most(whole, FEW), mrr),
        features("all", "MRR after all of MetaTool", whole, mrr),
        logged(whole, "logged", "what is earned by truth after a simulated log", 0.0),
        logged(whole, "broken", "the same where three tools in ten fail most of the time", 0.3),
        logged(whole, "broken_few", "the same after few rounds", 0.3, 3_000),
    ]


def logged(whole: Experience, id_: str, what: str, broken: float, rounds: int = ROUNDS) -> Row:
    """What features are worth where rounds are logged by a biased policy, of tools some of which are broken."""
    made = simulate(whole, rounds, broken=broken)
    held = np.flatnonzero(whole.intents_in("test"))
    return features(id_, what, made.experience, lambda score: earned_by(score, made.truth_QC, held))


def with_seed(seed: int) -> LearnConfig:
    """The default config, trained with a seed."""
    config = LearnConfig()
    return config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"seed": seed})})


def right_answers(experience: Experience) -> Row:
    """MRR on held-out requests that several tools answer, with and without their other answers as negatives."""
    asked = experience.successes("test")
    several = np.bincount(asked.query_E) > 1
    found: dict[str, Values] = {}
    for name, task in (("left out", CapabilityTask), ("as negatives", EveryOther)):
        ranks = [reciprocal_ranks(trained(experience, with_seed(seed), task)[1], asked) for seed in SEEDS]
        found[name] = np.mean(ranks, axis=0)
    left_out, negatives = found.values()
    told = paired_difference(left_out[several], negatives[several])
    return Row(
        id="rank.leaks.right_answers",
        what=f"MRR with right answers of other traces left out of the softmax, less that with them as negatives, on "
        f"the {several.sum()} held-out requests of MetaTool that several tools answer, {len(SEEDS)} seeds",
        value=round(told["difference"], 4),
        unit="MRR",
        at_least=0.0,
        peer=f"{left_out[several].mean():.4f} and {negatives[several].mean():.4f} ({told['difference_low']:+.4f} to "
        f"{told['difference_high']:+.4f}); on all {len(asked):,}: {left_out.mean():.4f} and {negatives.mean():.4f}",
    )


def features(id_: str, what: str, experience: Experience, judge: Callable[[Score], float]) -> Row:
    """A figure with features of before each trace, less that with its own outcome among them."""
    forms: Mapping[str, Past] = {
        "before": experience.past,
        "after": after(experience.past),
        "none": Past.none(len(experience.catalogue), len(experience.traces)),
    }
    found = {name: [judge(_score(experience, past, seed)) for seed in SEEDS] for name, past in forms.items()}
    means = {name: float(np.mean(of)) for name, of in found.items()}
    each = "; ".join(f"{name} {', '.join(f'{one:.4f}' for one in of)}" for name, of in found.items())
    return Row(
        id=f"rank.leaks.features.{id_}",
        what=f"{what}, with features as they were before each trace, less that with features after all of them",
        value=round(means["before"] - means["after"], 4),
        unit="of 1",
        peer=f"before {means['before']:.4f}, after {means['after']:.4f}, none {means['none']:.4f}; by seed: {each}",
    )


def _score(experience: Experience, past: Past, seed: int) -> Score:
    return trained(replace(experience, past=past), with_seed(seed))[1]
