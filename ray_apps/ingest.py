"""Read a corpus into tables, and cut its documents into passages."""

import sys

import data.chunking
import data.ingest
from data.artifacts import Artifact, materialise
from data.resolve import strict_error
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.stages import artifact


def ingest(run: RunConfig) -> Artifact:
    """Documents, links, queries, qrels and rejects of the run's source.

    Raises:
        InputError: if the source cannot be read, or a row was rejected in a strict run.
    """
    tables = artifact(run, "ingest")
    if not tables.done:
        connect(run.ray)
        materialise(tables, lambda out: data.ingest.ingest(run.source, out))
    elif run.source.strict and tables.result["rejects"]:  # made by a run that was not strict
        raise strict_error(data.ingest.first_reject(tables.path / "rejects"))
    return tables


def chunk(run: RunConfig) -> Artifact:
    """Passages of the run's documents."""
    passages = artifact(run, "chunk")
    if passages.done:
        return passages
    documents = ingest(run).path / "documents"
    return materialise(passages, lambda out: data.chunking.chunk(documents, run.chunk, out))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["ingest", *sys.argv[1:]]))
