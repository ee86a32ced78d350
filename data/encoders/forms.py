"""The forms of a sentence-transformers model: its weights in a precision and a runtime, such as ``onnx int8``."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from data.encoders import load_encoder
from data.encoders.config import EncoderConfig
from data.encoders.exact import exact_form
from data.errors import InputError

if TYPE_CHECKING:
    from data.encoders.transformer.encoder import SentenceEncoder

logger = logging.getLogger("catena")

EXACT = "torch fp32"
LOSSES = {"fp32": 0, "fp16": 1, "bf16": 1, "int8": 2}


def loss_rank(form: str) -> int:
    """How much accuracy a form may lose, 0 for fp32: one that may lose more has to be faster than those that lose less.

    Args:
        form: runtime and precision.
    """
    return LOSSES[form.split()[-1]]


def form_of(config: EncoderConfig) -> str:
    """The form that a config asks for."""
    return f"{config.backend} {'fp32' if config.precision == 'auto' else config.precision}"


def other_kind(config: EncoderConfig) -> str | None:
    """The key that makes an encoder something else than a sentence-transformers model; None where it is one."""
    kinds = {"endpoint": config.endpoint, "hashed": config.hashed, "ensemble": config.ensemble}
    own = ":" in config.model and not config.model.startswith(("/", "."))
    return next((kind for kind, value in kinds.items() if value is not None), "model" if own else None)


def need_model(config: EncoderConfig, otherwise: str) -> None:
    """Refuse an encoder that is no sentence-transformers model.

    Args:
        config: the run's encoder.
        otherwise: what the message says of one that is none.

    Raises:
        InputError: if the encoder is one of the user's own, or no model at all.
    """
    key = other_kind(config)
    if key is not None:
        what = f"{config.label} is an encoder of your own: it" if key == "model" else config.label
        raise InputError(f"encoder.{key}: {what} {otherwise}", "Name a sentence-transformers model in encoder.model.")


def device_of(config: EncoderConfig) -> str:
    """Where the encoder computes: ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def available_forms(config: EncoderConfig) -> tuple[str, ...]:
    """The forms this machine can compute, those that lose least first.

    Raises:
        InputError: if the encoder is one of the user's own, or no model at all.
    """
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
    return tuple(sorted(forms, key=loss_rank))


def alone(config: EncoderConfig) -> EncoderConfig:
    """The encoder by itself: without fallbacks, and whatever its fingerprint."""
    return config.model_copy(update={"fallback": (), "fingerprint": None})


def config_of(config: EncoderConfig, form: str, exported: Path | None = None) -> EncoderConfig:
    """The encoder by itself in a form.

    Args:
        config: a sentence-transformers model.
        form: one of ``available_forms``.
        exported: folder of the exported model, for a form on ONNX Runtime.
    """
    backend, precision = form.split()
    changed = {"backend": backend, "precision": precision, "exported": exported}
    return EncoderConfig.model_validate({**alone(config).model_dump(), **changed})


def exact_encoder(config: EncoderConfig) -> "SentenceEncoder":
    """The encoder loaded in fp32, in torch, on a CPU.

    Raises:
        InputError: if there is no such model.
    """
    from data.encoders.transformer.encoder import SentenceEncoder

    encoder = load_encoder(exact_form(alone(config)).model_copy(update={"device": "cpu"}))
    assert isinstance(encoder, SentenceEncoder)
    return encoder
