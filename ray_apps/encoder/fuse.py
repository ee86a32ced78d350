"""Learn the attention of the run's ensemble from its questions or its training links."""

import sys
from argparse import Namespace
from typing import Any

from data.encoders.config import EncoderConfig, EnsembleConfig, EnsembleEncoderConfig, alternatives
from data.errors import InputError
from ray_apps.command import Command
from ray_apps.encoder.corpus import corpus_needs, corpus_of
from ray_apps.plan import Plan


def fuse(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Learn the attention of the run's ensemble, judge it beside its members, and write the file that it names.

    Returns:
        ``run``, and ``encoder``: what ``training.encoders.fuse.fuse_members`` measured.

    Raises:
        InputError: if the run has no such ensemble, or the corpus nothing to learn from.
    """
    from training.encoders.fuse import FuseExamples, fuse_members

    config = _ensemble(plan.run.encoder)
    corpus = corpus_of({name: plan.bring(stage) for name, stage in corpus_needs(plan).items()})
    examples = FuseExamples(corpus, plan.run.fuse)
    return {"run": plan.run.name, "encoder": fuse_members(examples, config, plan.run.fuse)}


def _ensemble(config: EncoderConfig) -> EnsembleConfig:
    for one in alternatives(config):
        if isinstance(one, EnsembleEncoderConfig) and one.ensemble.attention is not None:
            return one.ensemble
    raise InputError(
        "catena encoder fuse: the run has no ensemble with fusion: attention",
        "Set encoder.ensemble: members, fusion: attention, and attention, the file to write.",
    )


COMMAND = Command(
    name="encoder fuse",
    summary="learn the attention of an ensemble from questions or training links",
    call=fuse,
    sections=("source", "steps", "encoder", "graph", "fuse"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "fuse", *sys.argv[1:]]))
