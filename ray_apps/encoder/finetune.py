"""The run's encoder fine-tuned on its training links, before anything is embedded."""

import sys
from collections.abc import Mapping
from pathlib import Path

from data.artifacts import Artifact, StageConfig, StageResult
from data.encoders.config import EncoderConfig, OnnxConfig, TransformerConfig
from data.encoders.files import contents
from data.encoders.forms import model_of, need_model, with_first
from data.errors import InputError, StageAbsent
from ray_apps.command import stage_command
from ray_apps.encoder.corpus import corpus_needs, corpus_of
from ray_apps.ingest import no_texts
from ray_apps.plan import Inputs, Plan, Stage
from training.encoders.config import FineTuneConfig

INPUT = "finetuned"  # what a stage's artifact of this stage is to the stages that read it


class FineTuneStageConfig(StageConfig):
    """What decides the fine-tuned encoder."""

    encoder: TransformerConfig
    finetune: FineTuneConfig


class FineTuneResult(StageResult):
    """What the encoder reaches on validation links, frozen and fine-tuned, and which of the two is kept."""

    training_pairs: int
    valid_pairs: int
    frozen: dict[str, float]
    tuned: dict[str, float]
    kept: str
    best_epoch: int
    history: list[dict[str, float]]
    model: str


def finetuned_needs(plan: Plan) -> dict[str, str]:
    """What a stage that uses the run's encoder needs for it: the fine-tuned one, where the run wants that."""
    return {INPUT: "finetune"} if _wanted(plan) else {}


def finetuned_encoder(config: EncoderConfig, inputs: Mapping[str, Artifact]) -> EncoderConfig:
    """An encoder with its model in the place of the fine-tuned one, where there is one and it is better.

    Args:
        config: the run's encoder, in any form.
        inputs: artifacts of ``finetuned_needs``.
    """
    made, model = inputs.get(INPUT), model_of(config)
    if made is None or model is None or made.result["kept"] == "frozen":
        return config
    return with_first(config, model.model_copy(update={"model": str(made.path / "model")}))


def _wanted(plan: Plan) -> bool:
    return plan.run.finetune.pairs is not None and plan.run.source.has_text


def _absent(plan: Plan) -> StageAbsent | None:
    if plan.run.finetune.pairs is None:
        return StageAbsent(
            "the run file does not ask for a fine-tuned encoder",
            "Add `finetune: {pairs: links}` to it, or --finetune.pairs links to the command.",
        )
    return no_texts(plan)


def _config(plan: Plan) -> FineTuneStageConfig:
    model = need_model(plan.run.encoder, "cannot be fine-tuned")
    if isinstance(model, OnnxConfig) and model.exported is not None:
        raise InputError(
            f"encoder.exported: {model.exported} is an export of the encoder as it is, and finetune.pairs asks for a "
            "fine-tuned one",
            "Leave encoder.exported out: the fine-tuned encoder is exported by the run.",
        )
    return FineTuneStageConfig(encoder=model.in_fp32(), finetune=plan.run.finetune)


def _check(config: FineTuneStageConfig) -> None:
    from data.encoders import check_model

    check_model(config.encoder)


def _tune(config: FineTuneStageConfig, inputs: Inputs, out: Path) -> FineTuneResult:
    from training.encoders.finetune import finetune_encoder

    passages = inputs["passages"].path / "passages"
    made = finetune_encoder(corpus_of(inputs), passages, config.encoder, config.finetune, out)
    return FineTuneResult.model_validate(made)


FINETUNE = Stage(
    name="finetune",
    result=FineTuneResult,
    config=_config,
    make=_tune,
    needs=lambda plan: {"passages": "chunk", **corpus_needs(plan)},
    wanted=_wanted,
    absent=_absent,
    stamps=lambda config: {"files": contents(config.encoder)},
    check=_check,
    on_ray=True,
)
COMMAND = stage_command(
    "encoder finetune",
    "finetune",
    "fine-tune the encoder on training links; kept where it is better on validation links",
    sections=("source", "steps", "chunk", "encoder", "graph", "finetune"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "finetune", *sys.argv[1:]]))
