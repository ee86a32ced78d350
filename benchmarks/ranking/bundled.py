"""Requests of MetaTool that need two tools, as capabilities of both: what their tools tell them."""

from dataclasses import replace

import numpy as np

from benchmarks.ranking.corpus import TOGETHER, metatool, split_anew, trained
from benchmarks.rows import Row
from evaluation.capability_metrics import reciprocal_ranks
from evaluation.significance import bootstrap_means
from training.ranking.config import LearnConfig, Messages, NetworkConfig
from training.ranking.experience import Experience, Values

SEEDS, SEEDS_UNSEEN = range(5), range(3)
BESIDE: tuple[Messages, ...] = ("two_stage", "hypergraph_conv")
"""Kinds of messages that are measured on the first split alone."""


def measure() -> list[Row]:
    """Five splits, each network trained with its own seed, and three with pairs of which nothing is known."""
    whole = metatool(*TOGETHER)
    told, text, shares = list[Values](), list[Values](), list[float]()
    for seed in SEEDS:
        experience = split_anew(whole, seed)
        for kind, found in (("attention", told), ("none", text)):
            ranks, share = of_bundles(experience, kind, seed)
            found.append(ranks)
            shares += [share] if kind == "attention" else []
    first = split_anew(whole, SEEDS[0])
    beside = {str(kind): float(of_bundles(first, kind, SEEDS[0])[0].mean()) for kind in BESIDE}
    return [_row(told, text, shares, beside), _unseen_row(whole)]


def _config(messages: str, seed: int) -> LearnConfig:
    config = LearnConfig()
    optimizer = config.optimizer.model_copy(update={"seed": seed})
    network = NetworkConfig.model_validate({"messages": messages})
    return config.model_copy(update={"network": network, "optimizer": optimizer})


def of_unseen(experience: Experience, seed: int, messages: str) -> Values:
    """Reciprocal ranks of the requests of every other pair, none of which is learned from."""
    several = np.flatnonzero(np.diff(experience.catalogue.indptr) > 1)
    gone = several[np.random.default_rng(seed).random(len(several)) < 0.5]
    unseen_N = np.isin(experience.traces.chosen, gone)
    learned = replace(experience, reward=np.where(unseen_N, np.nan, experience.reward))
    _, score = trained(learned, _config(messages, seed))
    numbers = np.flatnonzero(unseen_N)
    scores_NC = score(experience.traces.intent[numbers])
    own_N = scores_NC[np.arange(len(numbers)), experience.traces.chosen[numbers]]
    return np.asarray(1 / (1 + (scores_NC > own_N[:, None]).sum(axis=1)))


def _unseen_row(whole: Experience) -> Row:
    splits = [(split_anew(whole, seed), seed) for seed in SEEDS_UNSEEN]
    told, text = (np.concatenate([of_unseen(*one, kind) for one in splits]) for kind in ("attention", "none"))
    return Row(
        id="rank.bundled_unseen",
        what=f"MRR of the network with messages, {len(told):,} requests of pairs none of which was learned from, half "
        "of all pairs in three splits",
        value=round(float(told.mean()), 4),
        unit="MRR",
        at_least=round(float(text.mean()), 4),
        peer=f"text alone {text.mean():.4f}",
    )


def of_bundles(experience: Experience, messages: str, seed: int) -> tuple[Values, float]:
    """Reciprocal ranks of the test requests that several tools answer, and the share of messages."""
    made, score = trained(experience, _config(messages, seed))
    asked = experience.successes("test")
    several = np.diff(experience.catalogue.indptr)[asked.item_E] > 1
    return reciprocal_ranks(score, asked)[np.unique(asked.query_E[several])], made.message_share()


def _row(told: list[Values], text: list[Values], shares: list[float], beside: dict[str, float]) -> Row:
    """Relative gain of all splits together; an interval by resampling their requests."""
    pair = np.stack([np.concatenate(told), np.concatenate(text)], axis=1)
    means_B2 = bootstrap_means(pair)
    low, high = np.quantile(100 * (means_B2[:, 0] / means_B2[:, 1] - 1), [0.025, 0.975])
    seeds = ", ".join(f"{ours.mean():.4f} against {theirs.mean():.4f}" for ours, theirs in zip(told, text, strict=True))
    others = ", ".join(f"{kind} {mean:.4f}" for kind, mean in beside.items())
    return Row(
        id="rank.bundled",
        what=f"MRR of the network with messages over text alone, {len(pair):,} held-out requests of five splits that "
        "two tools answer together, each pair a capability",
        value=round(float(100 * (pair[:, 0].mean() / pair[:, 1].mean() - 1)), 2),
        unit="%",
        at_least=0.0,
        reach=10.0,
        peer=f"95% interval {low:+.1f}% to {high:+.1f}%; by split {seeds}; the first with other messages: {others}; "
        f"messages are {np.mean(shares):.1%} of states",
    )
