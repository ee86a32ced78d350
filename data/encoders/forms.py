"""The forms of a sentence-transformers model: its weights in a precision and a runtime, such as ``onnx int8``."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from data.encoders import load_encoder
from data.encoders.config import (
    ChainConfig,
    EncoderConfig,
    ModelConfig,
    OnnxConfig,
    PluginConfig,
    SingleEncoder,
    TransformerConfig,
    alternatives,
)
from data.encoders.reference import reference_form
from data.errors import InputError

if TYPE_CHECKING:
    from data.encoders.transformer.encoder import SentenceEncoder

logger = logging.getLogger("catena")

REFERENCE = "torch fp32"
NO_FORMS = "has no forms to compare or export"
LOSSES = {"fp32": 0, "fp16": 1, "bf16": 1, "int8": 2}


def loss_rank(form: str) -> int:
    """Rank by how much accuracy a form may lose, 0 for fp32: a form of higher rank has to be faster than those below.

    Args:
        form: runtime and precision.
    """
    return LOSSES[form.split()[-1]]


def form_of(config: ModelConfig) -> str:
    """The form that a config asks for."""
    precision = str(getattr(config, "precision", "auto"))
    runtime = "onnx" if isinstance(config, OnnxConfig) else "torch"
    return f"{runtime} {'fp32' if precision == 'auto' else precision}"


def model_of(config: EncoderConfig) -> TransformerConfig | OnnxConfig | None:
    """The sentence-transformers model of an encoder, in a chain that of its first; None for other kinds."""
    first = alternatives(config)[0]
    return first if isinstance(first, TransformerConfig | OnnxConfig) else None


def need_model(config: EncoderConfig, otherwise: str) -> TransformerConfig | OnnxConfig:
    """The sentence-transformers model of an encoder, in a chain that of its first.

    Args:
        config: the run's encoder.
        otherwise: the message about an encoder that is not such a model.

    Raises:
        InputError: if the encoder is a custom one, or not a model at all.
    """
    model, first = model_of(config), alternatives(config)[0]
    if model is None:
        key = "model" if isinstance(first, PluginConfig) else first.kind
        what = f"{first.label} is a custom encoder: it" if key == "model" else first.label
        raise InputError(f"encoder.{key}: {what} {otherwise}", "Name a sentence-transformers model in encoder.model.")
    return model


def exported_folder(config: EncoderConfig) -> Path | None:
    """The folder of an exported model that the config names."""
    model = model_of(config)
    return model.exported if isinstance(model, OnnxConfig) else None


def with_first(config: EncoderConfig, first: SingleEncoder) -> EncoderConfig:
    """An encoder with its first alternative in another form."""
    return config.model_copy(update={"first": (first,)}) if isinstance(config, ChainConfig) else first


def device_of(config: EncoderConfig) -> str:
    """Where the encoder computes: ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    import torch

    device = alternatives(config)[0].computes_on
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def available_forms(config: EncoderConfig) -> tuple[str, ...]:
    """The forms this machine can compute, those that lose least first.

    Raises:
        InputError: if the encoder is a custom one, or not a model at all.
    """
    from data.encoders.transformer.precision import bf16_in_hardware

    device = device_of(need_model(config, NO_FORMS))
    forms = [REFERENCE]
    if bf16_in_hardware(device):
        forms.append("torch bf16")
    if device.startswith("cuda"):
        forms.append("torch fp16")
    if importlib.util.find_spec("onnxruntime") is None:
        logger.info("encoder: onnxruntime is not installed: forms on ONNX Runtime are left out")
    else:
        forms += ["onnx fp32"] if device.startswith("cuda") else ["onnx fp32", "onnx int8"]
    return tuple(sorted(forms, key=loss_rank))


def reference_encoder(config: EncoderConfig) -> "SentenceEncoder":
    """The encoder by itself loaded in fp32, in torch, on a CPU.

    Raises:
        InputError: if there is no such model.
    """
    from data.encoders.transformer.encoder import SentenceEncoder

    encoder = load_encoder(alternatives(reference_form(config))[0].on_cpu())
    assert isinstance(encoder, SentenceEncoder)
    return encoder
