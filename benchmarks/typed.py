"""Typed links by whole runs: filtered MRR of every test triple of WN18RR and UMLS, with texts and without."""

import logging
from collections.abc import Mapping
from typing import Any

from benchmarks.rows import Row
from benchmarks.whole_runs import whole_run

logger = logging.getLogger("catena")

AT_LEAST = {"umls": 0.90, "wn18rr": 0.48}
REACH = {"umls": 0.94, "wn18rr": 0.55}


def measure() -> list[Row]:
    """Each run from nothing, in a workspace and a process of its own."""
    rows = []
    for name in AT_LEAST:
        logger.info("bench typed: the whole run %s, from nothing", name)
        rows += rows_of(name, *whole_run(name))
    return rows


def rows_of(name: str, summary: Mapping[str, Any], minutes: float) -> list[Row]:
    """The rows of one run.

    Args:
        name: of the run.
        summary: what ``catena run --json`` ends with.
        minutes: by the clock, from nothing.
    """
    mrr = {method: figures["mrr"] for method, figures in summary["links"].items()}
    listed = ", ".join(f"{method} {value:.4f}" for method, value in sorted(mrr.items(), key=lambda item: -item[1]))
    return [
        Row(
            id=f"typed.{name}_mrr",
            what=f"filtered MRR of every test triple of {name}, both ways, official split",
            value=round(mrr["model"], 4),
            unit="MRR",
            at_least=AT_LEAST[name],
            reach=REACH[name],
            peer=f"{listed}; the whole run {minutes:.1f} minutes",
        ),
        Row(
            id=f"typed.{name}_text_ratio",
            what=f"filtered MRR on {name} with texts, over that of the same decoder without them",
            value=round(mrr["model"] / mrr["decoder_alone"], 4),
            unit="times",
            at_least=1.0,
            peer=f"with {mrr['model']:.4f}, without {mrr['decoder_alone']:.4f}",
        ),
    ]
