"""How much of a figure of link learning is chance: over seeds of the training, and over splits of the links."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.rows import Row
from benchmarks.whole_runs import summary_of

logger = logging.getLogger("catena")

VARIED = (  # run, what the seeds are of, and their key
    ("demo", "training seeds", "--train.optimizer.seed"),
    ("demo", "split seeds", "--graph.seed"),
    ("cora", "split seeds", "--graph.seed"),
)
BOUNDS: Mapping[str, tuple[float, float]] = {  # at least, and hoped for
    "demo_mrr": (0.58, 0.65),
    "cora_auc": (0.930, 0.956),
    "cora_ap": (0.935, 0.962),
}


def measure_seeds(seeds: int) -> list[Row]:
    """The built-in corpus by ``seeds`` seeds of the training on one split, and by as many splits; splits of Cora.

    Artifacts stay in the ordinary workspace, so that a killed measurement continues.
    """
    rows = []
    for name, varied, key in VARIED:
        found = []
        for seed in range(seeds):
            logger.info("bench links: %s, %s, %d of %d", name, varied, seed + 1, seeds)
            found.append(summary_of("evaluate", name, key, str(seed))["links"])
        rows += seed_rows(name, varied, found)
    return rows


def seed_rows(name: str, varied: str, found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Mean and deviation of the model's figures.

    Args:
        name: of the run.
        varied: what the seeds are of.
        found: of each seed, the figures by method.
    """
    rows = []
    for figure in ("mrr", "auc", "ap"):
        values = [methods["model"][figure] for methods in found]
        at_least, reach = BOUNDS.get(f"{name}_{figure}", (None, None))
        rows.append(
            Row(
                id=f"links.{name}_{figure}_{varied.replace(' ', '_')}",
                what=f"{figure.upper()} of the model on held-out links of {name}, mean of {len(found)} {varied}",
                value=round(float(np.mean(values)), 4),
                unit=figure.upper(),
                at_least=at_least,
                reach=reach,
                peer=f"deviation {np.std(values, ddof=1):.4f}; each {', '.join(f'{value:.4f}' for value in values)}",
            )
        )
    ratios = [methods["model"]["mrr"] / _best_baseline(methods) for methods in found]
    rows.append(
        Row(
            id=f"links.{name}_mrr_ratio_{varied.replace(' ', '_')}",
            what=f"MRR of the model on {name} over that of the best baseline, least of {len(found)} {varied}",
            value=round(min(ratios), 4),
            unit="times",
            at_least=1.0,
            reach=1.03,
            peer=f"each {', '.join(f'{ratio:.3f}' for ratio in ratios)}",
        )
    )
    return rows


def _best_baseline(methods: Mapping[str, Mapping[str, float]]) -> float:
    return max(figures["mrr"] for name, figures in methods.items() if not name.startswith("model"))
