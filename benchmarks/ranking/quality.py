"""Every ranker on MetaTool's held-out requests, and what is served where outcomes are few."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ranking.corpus import at_most, metatool, trained
from benchmarks.rows import Row
from evaluation.capability_metrics import Score, reciprocal_ranks
from evaluation.significance import paired_difference
from training.ranking import baselines
from training.ranking.centroid import choose, moved
from training.ranking.config import LearnConfig
from training.ranking.driver import decide, learn, too_few, train_here
from training.ranking.experience import Experience

METRICS = ("hit@1", "mrr", "ndcg@5")
OUTCOMES = (1, 3, 10, 30, 100)  # a tool


def measure() -> list[Row]:
    """One turn of learning on all of it: two minutes."""
    with tempfile.TemporaryDirectory() as folder:
        made = learn(metatool(), LearnConfig(), Path(folder), None, "bench", train_here)
    return rows_of(made)


def rows_of(made: dict[str, Any]) -> list[Row]:
    """The rows of a turn: gains over the better of cosine and BM25, and over the centroid step, by metric."""
    table, rows = made["table"], list[Row]()
    ours = table["hypergraph"]
    for metric in METRICS:
        text = max(table["cosine"][metric], table["bm25"][metric])
        others = {name: figures[metric] for name, figures in table.items() if name != "hypergraph"}
        peer = f"ours {ours[metric]:.4f}; " + ", ".join(f"{name} {value:.4f}" for name, value in others.items())
        rows += [
            Row(
                id=f"rank.quality.{metric}.over_text",
                what=f"{metric} of the trained network over the better of cosine and BM25, MetaTool, held-out requests",
                value=round(100 * (ours[metric] / text - 1), 2),
                unit="%",
                at_least=10.0,
                reach=20.0,
                peer=peer,
            ),
            Row(
                id=f"rank.quality.{metric}.over_centroid",
                what=f"{metric} of the trained network over the centroid step, the same requests",
                value=round(100 * (ours[metric] / table["centroid"][metric] - 1), 2),
                unit="%",
                at_least=0.0,
                reach=3.0,
                peer=f"ours {ours[metric]:.4f}; centroid step {table['centroid'][metric]:.4f}",
            ),
        ]
    firsts = [f"{name} {one['ece@1']} (raw {one['ece@1_raw']})" for name, one in table.items() if "ece@1" in one]
    rows.append(
        Row(
            id="rank.quality.ece_first",
            what="expected calibration error of the probability that goes with the network's first place",
            value=ours["ece@1"],
            unit="ECE",
            at_most=0.1,
            peer=f"raw, the softmax of its scores: {ours['ece@1_raw']}; {', '.join(firsts)}",
        )
    )
    calibration = {name: figures.get("ece") for name, figures in table.items()}
    rows.append(
        Row(
            id="rank.quality.ece",
            what="expected calibration error of the probabilities that go with the network's first ten places",
            value=ours["ece"],
            unit="ECE",
            peer=f"Brier {ours['brier']}; ECE of others: {calibration}; messages are {made['message_share']:.1%} of "
            f"states; {made['sentence']}",
        )
    )
    return rows


def measure_curve() -> list[Row]:
    """What `catena learn` would serve after 1 to 100 outcomes a tool: two minutes."""
    whole, rows = metatool(), list[Row]()
    for outcomes in OUTCOMES:
        experience = at_most(whole, outcomes)
        kind, sentence, served = served_with(experience, LearnConfig())
        asked = experience.successes("test")
        after = reciprocal_ranks(served, asked)
        before = reciprocal_ranks(baselines.cosine(experience), asked)
        told = paired_difference(after, before)
        rows.append(
            Row(
                id=f"rank.curve.{outcomes}",
                what=f"MRR of what is served after at most {outcomes} outcomes a tool, less that of cosine, on "
                f"{len(asked):,} requests ({len(experience.traces_in('train')):,} traces learned from)",
                value=round(told["difference"], 4),
                unit="MRR",
                at_least=0.0,
                peer=f"{kind} {after.mean():.4f}, cosine {before.mean():.4f} ({told['difference_low']:+.4f} to "
                f"{told['difference_high']:+.4f}); {sentence}",
            )
        )
    return rows


def served_with(experience: Experience, config: LearnConfig) -> tuple[str, str, Score]:
    """The kind that a turn would serve, why, and its scores; cosine where a turn is refused."""
    simple = {"cosine": baselines.cosine(experience)}
    few = too_few(experience)
    if few is not None:
        return "cosine", few, simple["cosine"]
    numbers = experience.traces_in("train")
    judged = choose(experience, numbers, config.centroid)
    simple["centroid"] = baselines.by_keys(experience, np.asarray(moved(experience, numbers, judged.move)))
    scored = {**simple, "hypergraph": trained(experience, config)[1]}
    choice = decide(experience, judged, scored)
    return choice.kind, choice.sentence, scored[choice.kind]
