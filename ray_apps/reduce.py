"""Make the vectors of a run smaller, where its section ``reduce`` says how."""

import sys

import data.embedding.reduce
from data.artifacts import Artifact, materialise
from data.errors import InputError
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.embed import embed
from ray_apps.stages import artifact


def vectors(run: RunConfig) -> Artifact:
    """The vectors that index and graph read: reduced ones, or the encoder's own where the run does not reduce them."""
    return reduce(run) if run.reduce.active else embed(run)


def reduce(run: RunConfig) -> Artifact:
    """Vectors of the run's passages in fewer dimensions or fewer bytes.

    Raises:
        InputError: if the run asks for neither, or for more dimensions than there are.
    """
    if not run.reduce.active:
        raise InputError(
            f"{run.name}: nothing to reduce: reduce.method is none and reduce.storage float32",
            "Set one of them, such as --reduce.storage int8, or --reduce.method pca with --reduce.dim 128.",
        )
    made = artifact(run, "reduce")
    if made.done:
        return made
    embedded = embed(run).path
    connect(run.ray)
    return materialise(made, lambda out: data.embedding.reduce.reduce(embedded, run.reduce, out))


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["reduce", *sys.argv[1:]]))
