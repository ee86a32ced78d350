"""The forms of the run's encoder measured against each other: the gate, and `catena encoder check`."""

import logging
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import Artifact, StageConfig, StageResult
from data.encoders.config import EncoderConfig, OnnxConfig, TransformerConfig
from data.encoders.files import contents, digest
from data.encoders.forms import (
    NO_FORMS,
    REFERENCE,
    available_forms,
    device_of,
    exported_folder,
    form_of,
    model_of,
    need_model,
    with_first,
)
from data.encoders.model_config import in_form
from data.errors import InputError
from ray_apps.command import Command
from ray_apps.encoder.export import reference_model
from ray_apps.encoder.finetune import finetuned_encoder, finetuned_needs
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.tables import forms

if TYPE_CHECKING:
    from data.encoders.protocol import Encoder
    from evaluation.encoder_gate import FormFigures

logger = logging.getLogger("catena")


class GateConfig(StageConfig):
    """What decides the gate's verdicts: a verdict holds for an encoder, a corpus and a machine."""

    encoder: TransformerConfig
    exported: Path | None = None
    forms: tuple[str, ...]
    tolerance: float
    passages: int
    questions: int
    seed: int
    batch_tokens: int


class GateResult(StageResult):
    """The gate's table: a line a form, the form picked, and what they were measured on."""

    forms: list[dict[str, Any]]
    picked: str
    tolerance: float
    passages: int
    of_passages: int
    questions: int
    machine: dict[str, str | int]


def _config(plan: Plan) -> GateConfig:
    run = plan.run
    return GateConfig(
        encoder=reference_model(plan),
        exported=exported_folder(run.encoder),
        forms=available_forms(run.encoder),
        tolerance=need_model(run.encoder, NO_FORMS).tolerance,
        passages=run.evaluate.gate_passages,
        questions=run.evaluate.gate_questions,
        seed=run.evaluate.seed,
        batch_tokens=run.embed.batch_tokens,
    )


def _needs(plan: Plan) -> Mapping[str, str]:
    needs = {"tables": "ingest", "passages": "chunk", **finetuned_needs(plan)}
    if exported_folder(plan.run.encoder) is None:
        needs |= {form: exported_stage(form) for form in available_forms(plan.run.encoder) if form.startswith("onnx")}
    return needs


def _stamps(config: GateConfig) -> Mapping[str, Any]:
    from evaluation.encoder_gate import describe_machine

    exported = None if config.exported is None else digest(config.exported)
    machine = describe_machine(device_of(config.encoder))
    return {"files": contents(config.encoder), "exported": exported, "machine": machine}


def _measure(config: GateConfig, inputs: Inputs, out: Path) -> GateResult:
    from data.passages.sampling import sample_passages
    from evaluation.encoder_gate import SMALLEST_COSINE, describe_machine, markdown, measure_forms, pick
    from evaluation.questions import draw_questions

    questions = draw_questions(inputs["tables"].path, config.questions, config.seed)
    relevant = {document for grades in questions.qrels.values() for document, grade in grades.items() if grade > 0}
    sample = sample_passages(inputs["passages"].path / "passages", config.passages, config.seed, relevant)
    if not questions.texts:
        logger.info(
            "encoder: the corpus has no questions with known answers: only cosine (at least %s) and speed decide",
            SMALLEST_COSINE,
        )
    loaded, figures = _load(config, inputs)
    figures |= {line.form: line for line in measure_forms(loaded, sample, questions, config.tolerance)}
    lines = [figures[form] for form in config.forms]
    result = GateResult(
        forms=[line.model_dump(mode="json") for line in lines],
        picked=pick(lines).form,
        tolerance=config.tolerance,
        passages=len(sample.texts),
        of_passages=sample.of,
        questions=len(questions.texts),
        machine=describe_machine(device_of(config.encoder)),
    )
    (out / "table.md").write_text(markdown(result.model_dump(), lines), encoding="utf-8")
    return result


def _load(config: GateConfig, inputs: Inputs) -> tuple[dict[str, "Encoder"], dict[str, "FormFigures"]]:
    """Encoders by form, and a line of refusal for each that does not load."""
    from data.encoders import load_encoder
    from evaluation.encoder_gate import FormFigures

    encoder = need_model(finetuned_encoder(config.encoder, inputs), NO_FORMS)
    loaded: dict[str, Encoder] = {}
    refused: dict[str, FormFigures] = {}
    for form in config.forms:
        exported = inputs[form].path if form in inputs else config.exported
        try:
            loaded[form] = load_encoder(in_form(encoder, form, exported), config.batch_tokens)
        except InputError as error:
            if form == REFERENCE:
                raise
            refused[form] = FormFigures(form=form, accepted=False, reason=error.problem)
    return loaded, refused


GATE = Stage(
    name="gate",
    result=GateResult,
    config=_config,
    make=_measure,
    needs=_needs,
    wanted=lambda plan: isinstance(model_of(plan.run.encoder), OnnxConfig),
    stamps=_stamps,
)


def exported_stage(form: str) -> str:
    """The stage whose artifact a form on ONNX Runtime is loaded from."""
    return "onnx_int8" if form == "onnx int8" else "onnx"


def encoder_needs(plan: Plan) -> Mapping[str, str]:
    """What a stage that loads the run's encoder needs for it: the fine-tuned model, and the exported one."""
    model, needs = model_of(plan.run.encoder), finetuned_needs(plan)
    if isinstance(model, OnnxConfig) and model.exported is None:
        needs["exported"] = exported_stage(form_of(model))
    return needs


def encoder_permits(plan: Plan) -> Mapping[str, str]:
    """What may forbid a stage to load the run's encoder: the gate, for one on ONNX Runtime."""
    return {"gate": "gate"} if isinstance(model_of(plan.run.encoder), OnnxConfig) else {}


def ready_encoder(config: EncoderConfig, inputs: Mapping[str, Artifact]) -> EncoderConfig:
    """An encoder as a process can load it: fine-tuned, and one on ONNX Runtime with the folder of its exported model.

    Args:
        config: the plan's encoder.
        inputs: artifacts of ``encoder_needs`` and ``encoder_permits``.

    Raises:
        InputError: if the gate refuses the form on this machine.
    """
    config = finetuned_encoder(config, inputs)
    model = model_of(config)
    if not isinstance(model, OnnxConfig):
        return config
    allowed(inputs["gate"], form_of(model), model.tolerance)
    if "exported" not in inputs:
        return config
    return with_first(config, model.model_copy(update={"exported": inputs["exported"].path}))


def usable_encoder(plan: Plan) -> EncoderConfig:
    """The run's encoder as this process can load it, exported and judged first where its form needs that.

    Raises:
        InputError: if the gate refuses the form on this machine.
    """
    needs = {**encoder_needs(plan), **encoder_permits(plan)}
    return ready_encoder(plan.encoder, {key: plan.bring(need) for key, need in needs.items()})


def allowed(gate: Artifact, form: str, tolerance: float) -> None:
    """Refuse a form that the gate has refused or has not measured.

    Raises:
        InputError: with the verdict and what could change it.
    """
    from evaluation.encoder_gate import refusal

    verdict = _verdict(gate, form)
    if verdict is None:
        measured = ", ".join(line["form"] for line in gate.result["forms"])
        raise InputError(
            f"encoder: {form} is not available on {gate.result['machine']['device']}; available: {measured}",
            "Use one of these, or another encoder.device.",
        )
    if not verdict.accepted:
        raise refusal(verdict, tolerance)


def judged_encoder(plan: Plan) -> EncoderConfig:
    """The run's encoder, in fp32 where the gate has refused the form that it would choose in torch.

    The gate is not run for that: where `catena encoder check` has not run, the encoder is as the run file has it.

    Raises:
        InputError: if the gate has refused the form that is asked for.
    """
    from data.encoders.transformer.precision import short_form

    config, model = plan.run.encoder, model_of(plan.run.encoder)
    if not isinstance(model, TransformerConfig) or not _any_verdict(plan.run.workspace):
        return config
    form = f"torch {short_form(device_of(model)) if model.precision == 'auto' else model.precision}"
    gate = plan.artifact("gate")
    verdict = _verdict(gate, form) if gate.done else None
    if form == REFERENCE or verdict is None or verdict.accepted:
        return config
    if model.precision != "auto":
        allowed(gate, form, model.tolerance)
    logger.info("encoder: fp32, since the gate refuses %s on this machine: %s", form, verdict.reason)
    return with_first(config, model.model_copy(update={"gate_precision": "fp32"}))


def _any_verdict(workspace: Path) -> bool:
    """Whether there can be a verdict: to look it up, torch has to be asked for the machine's forms."""
    return any((workspace / "gate").glob("*/_SUCCESS"))


def _verdict(gate: Artifact, form: str) -> "FormFigures | None":
    """The gate's line on a form; None where it has not measured it."""
    from evaluation.encoder_gate import FormFigures

    lines = (FormFigures(**line) for line in gate.result["forms"])
    return next((line for line in lines if line.form == form), None)


def check(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Measure every form of the run's encoder that this machine has.

    Raises:
        InputError: if the encoder is not a sentence-transformers model.
    """
    made = plan.bring("gate")
    return {"run": plan.run.name, "encoder": made.result, "artifact": str(made.path)}


COMMAND = Command(
    name="encoder check",
    summary="compare the forms of the run's encoder on this machine: speed, cosine, nDCG@10",
    call=check,
    show=forms,
    sections=("source", "chunk", "encoder", "evaluate"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "check", *sys.argv[1:]]))
