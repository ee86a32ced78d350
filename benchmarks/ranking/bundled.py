"""Requests of MetaTool that need two tools, as capabilities of both: what their tools tell them."""

import numpy as np

from benchmarks.ranking.corpus import TOGETHER, metatool, split_anew, trained
from benchmarks.rows import Row
from evaluation.capability_metrics import reciprocal_ranks
from evaluation.significance import bootstrap_means
from training.ranking.config import LearnConfig, Messages, NetworkConfig
from training.ranking.experience import Experience, Values

SEEDS = range(5)
VARIANTS: tuple[Messages, ...] = ("attention", "two_stage", "hypergraph_conv", "none")


def measure() -> list[Row]:
    """Five splits, each network trained with its own seed: a quarter of an hour."""
    whole = metatool(*TOGETHER)
    found: dict[str, list[Values]] = {kind: [] for kind in VARIANTS}
    shares: dict[str, list[float]] = {kind: [] for kind in VARIANTS}
    for seed in SEEDS:
        experience = split_anew(whole, seed)
        for kind in VARIANTS:
            ranks, share = of_bundles(experience, kind, seed)
            found[kind].append(ranks)
            shares[kind].append(share)
    values = {kind: np.concatenate(of_seeds) for kind, of_seeds in found.items()}
    return [_row(kind, values, found, shares) for kind in VARIANTS[:-1]]


def of_bundles(experience: Experience, messages: Messages, seed: int) -> tuple[Values, float]:
    """Reciprocal ranks of the test requests that several tools answer, and the share of messages."""
    config = LearnConfig()
    optimizer = config.optimizer.model_copy(update={"seed": seed})
    config = config.model_copy(update={"network": NetworkConfig(messages=messages), "optimizer": optimizer})
    network, score = trained(experience, config)
    asked = experience.successes("test")
    several = np.diff(experience.catalogue.indptr)[asked.item_E] > 1
    return reciprocal_ranks(score, asked)[np.unique(asked.query_E[several])], network.message_share()


def _row(kind: str, values: dict[str, Values], by_seed: dict[str, list[Values]], shares: dict[str, list[float]]) -> Row:
    pair = np.stack([values[kind], values["none"]], axis=1)
    gains = 100 * (np.divide(*bootstrap_means(pair).T) - 1)
    low, high = np.quantile(gains, [0.025, 0.975])
    means = {name: [f"{of.mean():.4f}" for of in by_seed[name]] for name in (kind, "none")}
    return Row(
        id=f"rank.bundled.{kind}",
        what=f"MRR of the network with messages ({kind}) over text alone, {len(pair):,} held-out requests of five "
        "splits that two tools answer together; low end of the 95% interval above 0 is better",
        value=round(float(100 * (pair[:, 0].mean() / pair[:, 1].mean() - 1)), 2),
        unit="%",
        at_least=0.0 if kind == "attention" else None,
        reach=10.0 if kind == "attention" else None,
        peer=f"{low:+.1f}% to {high:+.1f}%; by seed {', '.join(means[kind])} against {', '.join(means['none'])}; "
        f"messages are {np.mean(shares[kind]):.1%} of states",
    )
