"""Turn the passages of a run into the vectors of their tokens, for search mode late."""

import sys

from data.artifacts import Artifact, materialise
from data.encoders.transformer.token_vectors import refuse_without_tokens
from data.errors import InputError
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.embed import embed
from ray_apps.ingest import chunk
from ray_apps.stages import artifact


def late(run: RunConfig) -> Artifact:
    """Token vectors of the run's passages.

    Raises:
        InputError: if the run asks for none, or its encoder gives none.
    """
    config = run.late
    if config is None:
        raise InputError("the run file has no section `late`", "Add `late: {}` to it, or --late.dim 96 to the command.")
    made = artifact(run, "late")
    if made.done:
        return made
    refuse_without_tokens(run.encoder)
    passages, embedded = chunk(run).path / "passages", embed(run).path
    connect(run.ray)

    from data.embedding.late import embed_tokens

    return materialise(made, lambda out: embed_tokens(passages, embedded, run.encoder, config, run.embed, out))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["late", *sys.argv[1:]]))
