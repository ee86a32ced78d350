"""Fill the search index with the run's passages."""

import sys

from data.artifacts import Artifact, materialise
from ray_apps.config import RunConfig
from ray_apps.embed import embed
from ray_apps.ingest import chunk, documents
from ray_apps.late import late
from ray_apps.reduce import vectors
from ray_apps.stages import artifact
from retrieval.build import build_index


def index(run: RunConfig) -> Artifact:
    """The index over the run's passages, vectors and metadata."""
    built = artifact(run, "index")
    if built.done:
        return built
    tokens = late(run).path if run.late is not None else None
    embedded = vectors(run).path
    full = embed(run).path if run.index.rescore else None
    table, passages = documents(run), chunk(run).path / "passages"
    return materialise(built, lambda out: build_index(table, passages, embedded, run.index, out, tokens, full))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["index", *sys.argv[1:]]))
