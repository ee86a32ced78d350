"""The run's model as an ONNX graph, and `catena encoder export`: a Triton model repository of it."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import StageConfig, StageResult
from data.encoders.config import OnnxConfig, TransformerConfig
from data.encoders.files import contents
from data.encoders.forms import NO_FORMS, exported_folder, form_of, model_of, need_model, reference_encoder
from data.errors import InputError
from ray_apps.command import Command, Parser
from ray_apps.encoder.finetune import finetuned_encoder, finetuned_needs
from ray_apps.plan import Inputs, Plan, Stage

if TYPE_CHECKING:
    from data.encoders.transformer.encoder import SentenceEncoder

CALIBRATION_PASSAGES = 128


class OnnxResult(StageResult):
    """An exported model; ``sha256`` is of its file, ``model`` the fingerprint of the model in fp32."""

    model: str
    precision: str
    dim: int
    sha256: str
    calibration_passages: int = 0
    quantised: int = 0
    left_in_fp32: tuple[str, ...] = ()


class ExportConfig(StageConfig):
    """What decides an exported model."""

    encoder: TransformerConfig


class CalibrationConfig(ExportConfig):
    """What decides a model in int8."""

    passages: int = CALIBRATION_PASSAGES
    seed: int


def reference_model(plan: Plan) -> TransformerConfig:
    """The run's own model in fp32, in torch: what its exported forms are made from and measured against.

    Raises:
        InputError: if the run's encoder is no sentence-transformers model.
    """
    return need_model(plan.run.encoder, NO_FORMS).in_fp32()


def _check(config: ExportConfig) -> None:
    from data.encoders import check_model
    from data.encoders.onnx.export import require

    check_model(config.encoder)
    require("onnx")


def _export(config: ExportConfig, inputs: Inputs, out: Path) -> OnnxResult:
    from data.encoders.onnx.export import export_model
    from data.encoders.transformer.models import open_model
    from training.encoders.seen import NONE, keep_marks

    encoder = need_model(finetuned_encoder(config.encoder, inputs), NO_FORMS)
    model = open_model(encoder.model, "cpu", encoder.max_length)
    made = export_model(model, reference_encoder(encoder).fingerprint, out)
    keep_marks(NONE, out, made_from=Path(encoder.model).expanduser())
    return OnnxResult.model_validate(made.model_dump())


def _calibrate(config: CalibrationConfig, inputs: Inputs, out: Path) -> OnnxResult:
    from data.encoders.onnx.export import batches_of
    from data.encoders.onnx.int8 import quantise
    from data.passages.sampling import sample_passages
    from training.encoders.seen import NONE, keep_marks

    sample = sample_passages(inputs["passages"].path / "passages", config.passages, config.seed)
    feeds = list(
        batches_of(reference_encoder(finetuned_encoder(config.encoder, inputs)), sorted(sample.texts, key=len))
    )
    made = quantise(inputs["exported"].path, feeds, len(sample.texts), out)
    keep_marks(NONE, out, made_from=inputs["exported"].path)
    return OnnxResult.model_validate(made.model_dump())


def _wanted(plan: Plan) -> bool:
    model = model_of(plan.run.encoder)
    return isinstance(model, OnnxConfig) and model.exported is None


ONNX = Stage(
    name="onnx",
    result=OnnxResult,
    config=lambda plan: ExportConfig(encoder=reference_model(plan)),
    make=_export,
    needs=finetuned_needs,
    wanted=_wanted,
    stamps=lambda config: {"files": contents(config.encoder)},
    check=_check,
)
ONNX_INT8 = Stage(
    name="onnx_int8",
    result=OnnxResult,
    config=lambda plan: CalibrationConfig(encoder=reference_model(plan), seed=plan.run.evaluate.seed),
    make=_calibrate,
    needs=lambda plan: {"exported": "onnx", "passages": "chunk", **finetuned_needs(plan)},
    wanted=lambda plan: _wanted(plan) and form_of(need_model(plan.run.encoder, NO_FORMS)) == "onnx int8",
    stamps=lambda config: {"files": contents(config.encoder)},
    check=_check,
)


def export(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Lay the run's encoder out as a Triton model repository, and run the model in it against torch.

    Raises:
        InputError: if the encoder is not a sentence-transformers model or cannot be exported, the folder cannot be
            written, the gate refuses int8, or vectors differ.
    """
    from data.encoders.onnx.export import MODEL, read_export
    from data.encoders.onnx.triton import model_name, read_repository, write_repository
    from evaluation.encoder_gate import SMALLEST_COSINE
    from ray_apps.encoder.check import allowed, exported_stage

    config = need_model(plan.run.encoder, "cannot be exported")
    precision = "int8" if config.precision == "int8" else "fp32"
    if precision == "int8":
        allowed(plan.bring("gate"), "onnx int8", config.tolerance)
    exported = exported_folder(config) or plan.bring(exported_stage(f"onnx {precision}")).path
    described = read_export(exported)
    place = write_repository(exported / MODEL, model_name(config.model, precision), described.dim, arguments.triton)
    served = read_repository(place)
    tuned = finetuned_encoder(config, {name: plan.bring(need) for name, need in finetuned_needs(plan).items()})
    cosine = _cosine_to_torch(reference_encoder(tuned), place / "1" / MODEL, served.output)
    if precision == "fp32" and not cosine >= SMALLEST_COSINE:
        raise InputError(
            f"{place}: vectors are not the model's: smallest cosine {cosine:.5f}, needed {SMALLEST_COSINE}",
            "Do not serve it; report the model's name.",
        )
    measured = {"model": served.name, "precision": precision, "dim": served.dim, "cosine_to_torch": round(cosine, 6)}
    return {"run": plan.run.name, "encoder": measured, "artifact": str(arguments.triton)}


def _cosine_to_torch(exact: "SentenceEncoder", model: Path, output: str) -> float:
    """Smallest cosine between vectors of an ONNX file and those of torch, over the fixed texts."""
    from data.encoders.onnx.encoder import open_session
    from data.encoders.onnx.export import batches_of
    from data.encoders.transformer.precision import TEXTS

    session = open_session(model, "cpu")
    vectors = np.concatenate([session.run([output], batch)[0] for batch in batches_of(exact, TEXTS)])
    return float((exact.encode_cut(TEXTS) * vectors).sum(axis=1).min())


def _words(parser: Parser) -> None:
    parser.add_argument("--triton", type=Path, metavar="DIR", required=True, help="the model repository to write")


COMMAND = Command(
    name="encoder export",
    summary="write the run's encoder as a Triton model repository",
    call=export,
    words=_words,
    sections=("source", "chunk", "encoder", "evaluate"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "export", *sys.argv[1:]]))
