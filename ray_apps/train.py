"""Turn the known links into a graph and train the link model on it."""

import sys

from data.artifacts import Artifact, materialise
from data.graph.graph import SPLITS, build_graph
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.ingest import documents, ingest
from ray_apps.reduce import vectors
from ray_apps.stages import artifact


def graph(run: RunConfig) -> Artifact:
    """Numbered documents, their vectors, and the links split for training, validation and test."""
    made = artifact(run, "graph")
    if made.done:
        return made
    table, links, embedded = documents(run), ingest(run).path / "links", vectors(run).path / "vectors"
    return materialise(
        made,
        lambda out: build_graph(table, links, embedded, run.graph, out),
    )


def why_untrainable(run: RunConfig) -> str | None:
    """Why no link model can be trained on the run's corpus, as a sentence; None where one can."""
    links = ingest(run).result["links"]
    if not links:
        return "The corpus has no links, so there is nothing to predict and nothing to train a link model on."
    counts = graph(run).result
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        return (
            f"The corpus has too few links ({links}): none is left for {' and '.join(empty)}, so no model is trained."
        )
    return None


def train(run: RunConfig) -> Artifact:
    """The link model and what it is held against, trained on Ray Train."""
    made = artifact(run, "train")
    if made.done:
        return made
    links = graph(run).path
    connect(run.ray)

    from training.links.driver import train_links

    store = run.workspace.resolve() / "mlflow.db"
    return materialise(made, lambda out: train_links(links, run.train, run.name, store, out))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
