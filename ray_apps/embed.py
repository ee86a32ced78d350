"""Turn the passages of a run into vectors."""

import sys

from data.artifacts import Artifact, materialise
from data.encoders import check_model
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.fallback import embed_chain
from ray_apps.ingest import chunk
from ray_apps.stages import artifact


def embed(run: RunConfig) -> Artifact:
    """Vectors of the run's passages.

    Raises:
        InputError: if there is no such encoder.
    """
    vectors = artifact(run, "embed")
    if vectors.done:
        return vectors
    check_model(run.encoder)  # before minutes go into a corpus that nothing can embed
    passages = chunk(run).path / "passages"
    connect(run.ray)
    return materialise(vectors, lambda out: embed_chain(passages, run.encoder, run.embed, out))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["embed", *sys.argv[1:]]))
