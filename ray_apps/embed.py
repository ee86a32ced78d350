"""Turn the passages of a run into vectors."""

import logging
import sys

from data.artifacts import Artifact, materialise
from data.embedding.fallback import embed_chain
from data.encoders import check_model
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.encoder.check import usable_encoder
from ray_apps.ingest import chunk
from ray_apps.stages import artifact

logger = logging.getLogger("catena")


def embed(run: RunConfig) -> Artifact:
    """Vectors of the run's passages.

    Raises:
        InputError: if there is no such encoder, or the gate refuses its form on this machine.
    """
    vectors = artifact(run, "embed")
    if vectors.done:
        if vectors.result.get("link"):
            told = "embed: the vectors that are kept are of %s, a fallback; delete %s to try the first encoder again"
            logger.info(told, vectors.result["encoder"], vectors.path)
        return vectors
    check_model(run.encoder)  # before minutes go into a corpus that nothing can embed
    passages = chunk(run).path / "passages"
    encoder = usable_encoder(run)
    connect(run.ray)
    cache = run.cache.at(run.workspace)
    return materialise(vectors, lambda out: embed_chain(passages, encoder, run.embed, out, cache))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["embed", *sys.argv[1:]]))
