"""Turn the known links into a graph and train the link model on it."""

import sys

from data.artifacts import Artifact, materialise
from data.graph import build_graph
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.embed import embed
from ray_apps.ingest import documents, ingest
from ray_apps.stages import artifact


def graph(run: RunConfig) -> Artifact:
    """Numbered documents, their vectors, and the links split for training, validation and test."""
    made = artifact(run, "graph")
    if made.done:
        return made
    table, links, vectors = documents(run), ingest(run).path / "links", embed(run).path / "vectors"
    return materialise(
        made,
        lambda out: build_graph(table, links, vectors, run.graph, out),
    )


def train(run: RunConfig) -> Artifact:
    """The link model and the feature-only baseline, trained on Ray Train."""
    made = artifact(run, "train")
    if made.done:
        return made
    links = graph(run).path
    connect(run.ray)

    from training.driver import train_links

    store = run.workspace.resolve() / "mlflow.db"
    return materialise(made, lambda out: train_links(links, run.train, run.name, store, out))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
