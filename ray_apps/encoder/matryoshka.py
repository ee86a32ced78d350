"""Fine-tune the run's encoder so that its vectors can be cut short."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from data.artifacts import StageConfig, StageResult
from data.encoders.config import TransformerConfig
from data.encoders.files import contents
from data.encoders.forms import model_of, need_model
from ray_apps.command import Command
from ray_apps.encoder.corpus import corpus_needs, corpus_of
from ray_apps.plan import Inputs, Plan, Stage
from training.encoders.config import MatryoshkaConfig


class TuneConfig(StageConfig):
    """What decides the fine-tuned model."""

    encoder: TransformerConfig
    matryoshka: MatryoshkaConfig


class TuneResult(StageResult):
    """What the fine-tuned model reaches, dimension by dimension, before and after; ``model`` is its folder."""

    training_pairs: int
    valid_pairs: int
    dims: list[dict[str, float]]
    best_epoch: int
    history: list[dict[str, float]]
    model: str


def _config(plan: Plan) -> TuneConfig:
    model = need_model(plan.run.encoder, "cannot be fine-tuned").in_fp32()
    return TuneConfig(encoder=model, matryoshka=plan.run.matryoshka or MatryoshkaConfig())


def _check(config: TuneConfig) -> None:
    from data.encoders import check_model

    check_model(config.encoder)


def _tune(config: TuneConfig, inputs: Inputs, out: Path) -> TuneResult:
    from training.encoders.matryoshka_driver import tune_encoder

    made = tune_encoder(corpus_of(inputs), config.encoder.model, config.matryoshka, out)
    return TuneResult.model_validate(made)


MATRYOSHKA = Stage(
    name="matryoshka",
    version=2,
    result=TuneResult,
    config=_config,
    make=_tune,
    needs=corpus_needs,
    wanted=lambda plan: plan.run.matryoshka is not None and model_of(plan.run.encoder) is not None,
    stamps=lambda config: {"files": contents(config.encoder)},
    check=_check,
    on_ray=True,
)


def matryoshka(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Fine-tune the model of a run on its training links or its questions.

    Returns:
        ``run``, ``encoder`` (a ``TuneResult``) and the ``artifact``; its ``model/`` is what ``encoder.model`` takes.

    Raises:
        InputError: if the encoder is not a sentence-transformers model, or the corpus has too few pairs.
    """
    made = plan.bring("matryoshka")
    return {"run": plan.run.name, "encoder": made.result, "artifact": str(made.path)}


COMMAND = Command(
    name="encoder matryoshka",
    summary="fine-tune the model on training links or answered questions so that its vectors can be cut short",
    call=matryoshka,
    sections=("source", "steps", "encoder", "graph", "matryoshka"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "matryoshka", *sys.argv[1:]]))
