"""A cross-encoder of the run's own, trained on its training questions or links, and where a run uses it."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.artifacts import Artifact, StageConfig, StageResult
from data.encoders.config import EncoderConfig
from data.encoders.files import contents, digest
from data.errors import InputError
from data.sources import SourceConfig, fingerprint
from data.sources.beir import BeirSource
from ray_apps.command import Command
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.encoder.corpus import corpus_needs, corpus_of
from ray_apps.ingest import no_texts
from ray_apps.plan import Inputs, Plan, Stage
from training.cross_encoder.config import TRAINED, RankerConfig

INPUT = "ranker"  # what the stage's artifact is to the stages that read it


class RankerStageConfig(StageConfig):
    """What decides the trained cross-encoder; ``training`` are judgments apart from those that search is judged by."""

    ranker: RankerConfig
    training: BeirSource | None
    encoder: EncoderConfig


class RankerResult(StageResult):
    """What it was trained on, and nDCG@10 of held-out questions beside that of the first stage."""

    learned_from: str
    training_questions: int
    valid_questions: int
    made_questions: int
    too_long: int
    ndcg: dict[str, float]
    compared: dict[str, float]
    beats: bool
    weight: float
    best_epoch: int
    history: list[dict[str, float]]
    model: str


def ranker_needs(plan: Plan) -> dict[str, str]:
    """What a stage that reranks needs for it: the trained cross-encoder, where the run names it."""
    return {INPUT: "ranker"} if plan.run.cross_encoder == TRAINED else {}


def ranker_folder(model: str | None, inputs: Mapping[str, Artifact]) -> str | None:
    """The cross-encoder that a run's ``ranker.model`` names, as it can be opened; None where it names none."""
    if model is None or model == TRAINED:
        return None if model is None else str(inputs[INPUT].path / TRAINED)
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


def served_ranker(plan: Plan) -> str | None:
    """The cross-encoder that ``serve.ranker`` names, as any process can open it; None where it names none.

    Raises:
        InputError: if it is the trained one, and none was trained.
    """
    ranker = plan.run.serve.ranker
    if ranker != TRAINED:
        return plan.run.serve.with_absolute_paths().ranker
    made = plan.artifact("ranker")
    if not made.done:
        raise InputError(
            f"serve.ranker: {TRAINED}, and there is no trained ranker at {made.path}",
            "`catena ranker train RUN.yaml` makes it.",
        )
    return str((made.path / TRAINED).resolve())


def _config(plan: Plan) -> RankerStageConfig:
    beir, split = plan.run.source.beir, plan.run.ranker.split
    training = None
    if beir is not None and beir.split != split and beir.has_split(split):
        training = beir.model_copy(update={"split": split, "links": None})
    return RankerStageConfig(ranker=plan.run.ranker, training=training, encoder=plan.encoder)


def _stamps(config: RankerStageConfig) -> Mapping[str, Any]:
    base, training = Path(config.ranker.base).expanduser(), config.training
    return {
        "files": contents(config.encoder),
        "base": digest(base) if base.is_dir() else None,
        "training": None if training is None else fingerprint(SourceConfig(beir=training)),
    }


def _check(config: RankerStageConfig) -> None:
    from training.cross_encoder.model import readable

    readable(config.ranker.base, config.ranker.max_length)


def _train(config: RankerStageConfig, inputs: Inputs, out: Path) -> RankerResult:
    from retrieval.search import open_retriever
    from training.cross_encoder.driver import prepare, train_ranker

    asked = config.ranker
    retriever = open_retriever(inputs["index"].path, ready_encoder(config.encoder, inputs))
    try:
        prepared = prepare(
            corpus_of(inputs),
            lambda texts: retriever.search(texts, "hybrid", asked.depth),
            asked,
            config.training,
            out,
        )
    finally:
        retriever.index.close()
    return RankerResult.model_validate(train_ranker(asked, prepared, out))


RANKER = Stage(
    name="ranker",
    result=RankerResult,
    config=_config,
    make=_train,
    needs=lambda plan: {**corpus_needs(plan), "index": "index", **encoder_needs(plan)},
    permits=encoder_permits,
    wanted=lambda plan: TRAINED in (plan.run.ranker.model, plan.run.serve.ranker),
    absent=no_texts,
    stamps=_stamps,
    check=_check,
    on_ray=True,
)


def train(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Train a cross-encoder on what the index finds for training questions, and say whether it is better than that.

    Returns:
        ``run``, ``ranker`` (a ``RankerResult``) and the ``artifact``.

    Raises:
        InputError: if there is nothing to learn from, or the base cannot be opened.
    """
    made = plan.bring("ranker")
    return {"run": plan.run.name, "ranker": made.result, "artifact": str(made.path)}


COMMAND = Command(
    name="ranker train",
    summary="train a cross-encoder that puts what search finds in order, on training questions or links",
    call=train,
    sections=("source", "steps", "encoder", "index", "graph", "ranker"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["ranker", "train", *sys.argv[1:]]))
