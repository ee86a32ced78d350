"""Text to vectors, the same in batch and online: ``load_encoder`` loads every kind of encoder.

``transformer`` runs sentence-transformers models on batches by padded token area, ``onnx`` runs exported models,
``endpoint`` calls a server, ``hashed`` needs no model, ``plugin`` wraps a custom encoder. ``ensemble`` makes one
encoder of several, ``chain`` uses the next encoder where one is unavailable. ``config`` has the keys of all.
"""

import logging
from functools import partial
from pathlib import Path

from data.encoders.config import (
    BATCH_TOKENS,
    ChainConfig,
    EncoderConfig,
    EndpointEncoderConfig,
    EnsembleEncoderConfig,
    HashedEncoderConfig,
    OnnxConfig,
    PluginConfig,
    SingleEncoder,
    TransformerConfig,
    alternatives,
    encoders_in,
)
from data.encoders.model_config import PLUGIN_KEY
from data.encoders.protocol import Encoder
from data.errors import EncoderUnavailable, InputError, all_unavailable
from data.imports import load

logger = logging.getLogger("catena")


def load_encoder(config: EncoderConfig, batch_tokens: int = BATCH_TOKENS, threads: int | None = None) -> Encoder:
    """Load the encoder of a run; logs in one line which precision it chose and why.

    Args:
        config: which encoder; of a chain the first alternative that is available is loaded.
        batch_tokens: largest padded area of a batch, in tokens.
        threads: batches computed at once on a CPU; one for each core where None.

    Raises:
        InputError: if there is no such model or device, bf16 or fp16 is asked for and fails its check, our vectors are
            not those of the model's own ``encode``, or another fingerprint is expected.
        EncoderUnavailable: if a server does not answer, none of the chain's encoders is available, or the precision of
            existing vectors is not as good as fp32 here.
    """
    if isinstance(config, ChainConfig):
        return _load_first(config, batch_tokens, threads)
    encoder = _load(config, batch_tokens, threads)
    if config.fingerprint is not None and encoder.fingerprint != config.fingerprint:
        raise InputError(
            f"{config.label} is the encoder {encoder.fingerprint}, and {config.fingerprint} is expected: "
            "their vectors cannot be compared",
            "Use the encoder, model file and precision that made the vectors, or embed again.",
        )
    return encoder


def _load_first(config: ChainConfig, batch_tokens: int, threads: int | None) -> Encoder:
    """The first alternative that is available; a line in the log for each before it."""
    reasons = []
    for alternative in alternatives(config):
        try:
            return load_encoder(alternative, batch_tokens, threads)
        except EncoderUnavailable as error:
            logger.warning("encoder: %s", error.problem)
            reasons.append(error)
    raise all_unavailable(reasons)


def _load(config: SingleEncoder, batch_tokens: int, threads: int | None) -> Encoder:
    match config:
        case EndpointEncoderConfig():
            from data.encoders.endpoint.encoder import EndpointEncoder

            return EndpointEncoder(config.endpoint)
        case HashedEncoderConfig():
            from data.encoders.hashed import HashedEncoder

            return HashedEncoder.load(config.hashed)
        case EnsembleEncoderConfig():
            from data.encoders.ensemble.encoder import load_ensemble

            return load_ensemble(config.ensemble, partial(load_encoder, batch_tokens=batch_tokens, threads=threads))
        case PluginConfig():
            from data.encoders.plugin import load_plugin

            return load_plugin(config, batch_tokens, threads)
    from data.encoders.transformer.devices import check_device

    check_device(config.device)
    if isinstance(config, OnnxConfig):
        from data.encoders.onnx.encoder import OnnxEncoder

        return OnnxEncoder.load(config, batch_tokens, threads)
    from data.encoders.transformer.encoder import SentenceEncoder

    return SentenceEncoder.load(config, batch_tokens, threads)


def check_model(config: EncoderConfig) -> None:
    """Find the model, import path or files of an encoder without loading it, and those of all in it.

    Raises:
        InputError: if there is no such model folder, import path or file.
    """
    for encoder in encoders_in(config):
        match encoder:
            case EnsembleEncoderConfig():
                _check_file("ensemble.attention", encoder.ensemble.attention, "catena encoder fuse RUN.yaml")
            case HashedEncoderConfig():
                _check_file("hashed.idf", encoder.hashed.idf, "catena encoder idf RUN.yaml")
            case PluginConfig():
                load(PLUGIN_KEY, encoder.model)
            case TransformerConfig() | OnnxConfig():
                from data.encoders.transformer.models import find_model

                if not Path(find_model(encoder.model)).is_dir():
                    logger.info("encoder: %s is not a folder; it is looked up on the Hugging Face hub", encoder.model)


def _check_file(key: str, file: Path | None, command: str) -> None:
    if file is not None and not file.is_file():
        raise InputError(f"encoder.{key}: there is no file {file}", f"Make it with `{command}`.")
