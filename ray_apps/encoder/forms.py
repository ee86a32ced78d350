"""Which forms a run's encoder has on this machine, and how each is made ready to be loaded."""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import Artifact, locate, materialise
from data.encoders import check_model, load_encoder
from data.encoders.config import (
    EncoderConfig,
    ModelConfig,
    OnnxConfig,
    PluginConfig,
    TransformerConfig,
    alternatives,
)
from data.encoders.exact import exact_form
from data.encoders.model_config import in_form
from data.errors import InputError
from data.passages.sampling import sample_passages
from evaluation.encoder_gate import EXACT, given_up
from ray_apps.config import RunConfig
from ray_apps.ingest import chunk

if TYPE_CHECKING:
    from data.encoders.transformer.encoder import SentenceEncoder

logger = logging.getLogger("catena")

CALIBRATION_PASSAGES = 128


def form_of(config: ModelConfig) -> str:
    """The form a config asks for, as the gate's table names it."""
    return f"onnx {_of(config)}" if isinstance(config, OnnxConfig) else f"torch {_of(config)}"


def _of(config: ModelConfig) -> str:
    precision = str(getattr(config, "precision", "auto"))
    return "fp32" if precision == "auto" else precision


def model_of(config: EncoderConfig) -> TransformerConfig | OnnxConfig | None:
    """The sentence-transformers model that an encoder is, of a chain its first; None where it is none."""
    first = alternatives(config)[0]
    return first if isinstance(first, TransformerConfig | OnnxConfig) else None


def need_model(config: EncoderConfig, otherwise: str) -> TransformerConfig | OnnxConfig:
    """The sentence-transformers model that an encoder is, of a chain its first.

    Args:
        config: the run's encoder.
        otherwise: what the message says of one that is none.

    Raises:
        InputError: if the encoder is one of the user's own, or no model at all.
    """
    model, first = model_of(config), alternatives(config)[0]
    if model is None:
        key = "model" if isinstance(first, PluginConfig) else first.kind
        what = f"{first.label} is an encoder of your own: it" if key == "model" else first.label
        raise InputError(f"encoder.{key}: {what} {otherwise}", "Name a sentence-transformers model in encoder.model.")
    return model


def available_forms(config: EncoderConfig) -> tuple[str, ...]:
    """The forms this machine can compute, those that give up least first.

    Raises:
        InputError: if the encoder is one of the user's own, or no model at all.
    """
    import importlib.util

    from data.encoders.transformer.precision import bf16_in_hardware

    device = device_of(need_model(config, "has no forms to compare or export"))
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

    device = alternatives(config)[0].computes_on
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def config_of(run: RunConfig, form: str) -> TransformerConfig | OnnxConfig:
    """The run's encoder by itself in a form, its model exported and calibrated where the form needs it.

    Raises:
        InputError: if ONNX is not installed, or the model cannot be exported or calibrated.
    """
    available_forms(run.encoder)  # an encoder without forms is refused here
    model = need_model(run.encoder, "has no forms to compare or export")
    backend, precision = form.split()
    folder = None
    if backend == "onnx":
        folder = exported_folder(model) or exported(run, precision).path
    return in_form(model, form, folder)


def exported_folder(config: EncoderConfig) -> Path | None:
    """The folder of an exported model that the config names."""
    model = model_of(config)
    return model.exported if isinstance(model, OnnxConfig) else None


def exact_encoder(config: EncoderConfig) -> "SentenceEncoder":
    """The encoder by itself in fp32, in torch, on a CPU.

    Raises:
        InputError: if there is no such model.
    """
    from data.encoders.transformer.encoder import SentenceEncoder

    encoder = load_encoder(alternatives(exact_form(config))[0].on_cpu())
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

    named = need_model(run.encoder, "cannot be exported")
    model = open_model(named.model, "cpu", named.max_length)
    return export_model(model, fingerprint_in_fp32(run.encoder), out).model_dump(mode="json")


def _calibrate(run: RunConfig, base: Path, passages: Path, out: Path) -> dict[str, Any]:
    from data.encoders.onnx.export import batches_of
    from data.encoders.onnx.int8 import quantise

    sample = sample_passages(passages, CALIBRATION_PASSAGES, run.evaluate.seed)
    logger.info("encoder: calibrating int8 on %d of %d passages", len(sample.texts), sample.of)
    feeds = list(batches_of(exact_encoder(run.encoder), sorted(sample.texts, key=len)))
    return quantise(base, feeds, len(sample.texts), out).model_dump(mode="json")
