"""Which forms a run's encoder has on this machine, and how each is made ready to be loaded."""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import Artifact, locate, materialise
from data.encoders import check_model, load_encoder
from data.encoders.config import EncoderConfig
from data.encoders.exact import exact_form
from data.errors import InputError
from data.passages.sampling import sample_passages
from evaluation.encoder_gate import EXACT, given_up
from ray_apps.config import RunConfig
from ray_apps.ingest import chunk

if TYPE_CHECKING:
    from data.encoders.transformer.encoder import SentenceEncoder

logger = logging.getLogger("catena")

CALIBRATION_PASSAGES = 128
ALONE = {"fallback": (), "fingerprint": None}  # a form is measured by itself, whatever could stand in for it


def form_of(config: EncoderConfig) -> str:
    """The form a config asks for, as the gate's table names it."""
    return f"{config.backend} {'fp32' if config.precision == 'auto' else config.precision}"


def other_kind(config: EncoderConfig) -> str | None:
    """The key that makes an encoder something else than a sentence-transformers model; None where it is one."""
    kinds = {"endpoint": config.endpoint, "hashed": config.hashed, "ensemble": config.ensemble}
    return next((kind for kind, value in kinds.items() if value is not None), "model" if config.is_plugin else None)


def need_model(config: EncoderConfig, otherwise: str) -> None:
    """Refuse an encoder that is no sentence-transformers model.

    Args:
        config: the run's encoder.
        otherwise: what is told of one that is none.

    Raises:
        InputError: if the encoder is one of the user's own, or no model at all.
    """
    key = other_kind(config)
    if key is not None:
        what = f"{config.label} is an encoder of your own: it" if key == "model" else config.label
        raise InputError(f"encoder.{key}: {what} {otherwise}", "Name a sentence-transformers model in encoder.model.")


def available_forms(config: EncoderConfig) -> tuple[str, ...]:
    """The forms this machine can compute, those that give up least first.

    Raises:
        InputError: if the encoder is one of the user's own, or no model at all.
    """
    import importlib.util

    from data.encoders.transformer.precision import bf16_in_hardware

    need_model(config, "has no forms to compare or export")
    device = device_of(config)
    forms = [EXACT]
    if bf16_in_hardware(device):
        forms.append("torch bf16")
    if device.startswith("cuda"):
        forms.append("torch fp16")
    if importlib.util.find_spec("onnxruntime") is None:
        logger.info("encoder: onnxruntime is not installed: forms on ONNX Runtime are left out")
    else:
        forms += ["onnx fp32"] if device.startswith("cuda") else ["onnx fp32", "onnx int8"]
    return tuple(sorted(forms, key=given_up))


def device_of(config: EncoderConfig) -> str:
    """Where the encoder runs."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def config_of(run: RunConfig, form: str) -> EncoderConfig:
    """The run's encoder in a form, its model exported and calibrated where the form needs it.

    Raises:
        InputError: if ONNX is not installed, or the model cannot be exported or calibrated.
    """
    available_forms(run.encoder)  # an encoder without forms is refused here
    backend, precision = form.split()
    folder = None
    if backend == "onnx":
        folder = run.encoder.exported or exported(run, precision).path
    form_only = {"backend": backend, "precision": precision, "exported": folder}
    return EncoderConfig.model_validate({**run.encoder.model_dump(), **ALONE, **form_only})


def exact_encoder(config: EncoderConfig) -> "SentenceEncoder":
    """The encoder in fp32, in torch, on a CPU.

    Raises:
        InputError: if there is no such model.
    """
    from data.encoders.transformer.encoder import SentenceEncoder

    encoder = load_encoder(exact_form(config).model_copy(update={**ALONE, "device": "cpu"}))
    assert isinstance(encoder, SentenceEncoder)
    return encoder


@functools.cache
def fingerprint_in_fp32(config: EncoderConfig) -> str:
    """Fingerprint of the encoder in fp32: its weights, tokenizer, pooling and length.

    Raises:
        InputError: if there is no such model.
    """
    return exact_encoder(config).fingerprint


def exported(run: RunConfig, precision: str) -> Artifact:
    """The run's model as an ONNX graph, in fp32, or calibrated on its passages in int8.

    Raises:
        InputError: if ONNX is not installed, or the model cannot be exported or calibrated.
    """
    check_model(run.encoder)
    identity: dict[str, Any] = {"model": fingerprint_in_fp32(run.encoder), "precision": precision}
    if precision == "fp32":
        return materialise(locate(run.workspace, "onnx", identity), lambda out: _export(run, out))
    passages, base = chunk(run), exported(run, "fp32")
    identity |= {"passages": CALIBRATION_PASSAGES, "seed": run.evaluate.seed}
    place = locate(run.workspace, "onnx", identity, [base, passages])
    return materialise(place, lambda out: _calibrate(run, base.path, passages.path / "passages", out))


def _export(run: RunConfig, out: Path) -> dict[str, Any]:
    from data.encoders.onnx.export import export_model
    from data.encoders.transformer.models import open_model

    model = open_model(run.encoder.model, "cpu", run.encoder.max_length)
    return export_model(model, fingerprint_in_fp32(run.encoder), out).model_dump(mode="json")


def _calibrate(run: RunConfig, base: Path, passages: Path, out: Path) -> dict[str, Any]:
    from data.encoders.onnx.export import batches_of
    from data.encoders.onnx.int8 import quantise

    sample = sample_passages(passages, CALIBRATION_PASSAGES, run.evaluate.seed)
    logger.info("encoder: calibrating int8 on %d of %d passages", len(sample.texts), sample.of)
    feeds = list(batches_of(exact_encoder(run.encoder), sorted(sample.texts, key=len)))
    return quantise(base, feeds, len(sample.texts), out).model_dump(mode="json")
