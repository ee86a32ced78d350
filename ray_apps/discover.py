"""Propose the links that are missing, best first."""

import sys
from typing import Any

import discovery.discover
from data.artifacts import Artifact, materialise
from data.errors import InputError
from data.graph.graph import load_graph
from discovery.proposals import read_best
from ray_apps.config import RunConfig
from ray_apps.report import write_run_report
from ray_apps.stages import artifact


def discover(run: RunConfig) -> Artifact:
    """Ranked proposals with probability and reason; the report, where there is one, is written anew to show them.

    Raises:
        InputError: if the corpus has too few links to learn from.
    """
    proposed = artifact(run, "discover")
    if proposed.done:
        return proposed
    from ray_apps.train import train, why_untrainable
    from training.links.scoring import LinkScorer

    obstacle = why_untrainable(run)
    if obstacle is not None:
        raise InputError(
            f"{run.name}: no missing links can be proposed. {obstacle}",
            "Give the source a links table, or more links; search works without any.",
        )

    model, graph_path = train(run).path, artifact(run, "graph").path
    materialise(
        proposed,
        lambda out: discovery.discover.discover(
            load_graph(graph_path), LinkScorer.load(model, graph_path), run.discover, out
        ),
    )
    if artifact(run, "evaluate").done:
        write_run_report(run)
    return proposed


def best(proposed: Artifact, top: int) -> list[dict[str, Any]]:
    """The first ``top`` proposals as rows of the table, for a readable list."""
    return read_best(proposed.path / "links", top)


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["discover", *sys.argv[1:]]))
